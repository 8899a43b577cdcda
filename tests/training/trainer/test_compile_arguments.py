"""What `Trainer.compile` refuses by the strategy of the model."""

import keras
import pytest
import tensorflow as tf

from keras_ext.training.trainer.compile_arguments import bind


def test_parameter_servers_are_refused():
    # One that is connected needs a cluster.
    strategy = object.__new__(tf.distribute.ParameterServerStrategy)
    with pytest.raises(ValueError, match=r"updates are lost.*Use MirroredStrategy or"):
        bind(keras.Model().compile, (), {}, strategy)

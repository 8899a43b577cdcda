"""The body that the EfficientNets share."""

import keras

from keras_ext.models._efficientnet import efficientnet


def test_a_stage_has_all_of_its_repetitions():
    inputs = keras.Input((32, 32, 3))
    outputs = efficientnet(
        inputs,
        [(False, 1, 3, 8, 10, 2)],
        normalization=None,
        include_top=False,
        pooling=None,
        classes=5,
        dropout_rate=0.0,
        drop_connect_rate=0.0,
        classifier_activation=None,
    )
    names = [layer.name for layer in keras.Model(inputs, outputs).layers]
    assert names[2:-1] == [f"block1{letter}" for letter in "abcdefghij"]

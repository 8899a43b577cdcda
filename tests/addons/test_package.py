"""What the import of the bridge changes, what it refuses, and what files may do."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ext
from keras_ext import addons
from keras_ext.addons.layer import AddonsLayer
from keras_ext.addons.loss import AddonsLoss
from keras_ext.addons.optimizer import AddonsOptimizer
from keras_ext.training.trainer.legacy_objects import RENAMED
from tests.addons.both_keras import FIT, X, Y, small, tf_keras, tfa


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tfa.image.resampler(np.ones((1, 2, 2, 1)), np.ones((1, 1, 2))), "map"),
        (lambda: tfa.image.connected_components(np.ones((2, 2))), r"scipy\.ndimage\."),
        (
            lambda: tfa.text.parse_time("2020", "%Y", output_unit="SECOND"),
            "Python's datetime",
        ),
        (lambda: tfa.layers.EmbeddingBag(3, 2)(np.ones((1, 2), "int32")), "keras_rs"),
    ],
)
def test_compiled_operations_say_what_replaces_them(call, message):
    with pytest.raises(NotImplementedError, match=f"compiled for .* Use .*{message}"):
        call()


def test_operations_with_another_implementation_use_it():
    images = np.random.default_rng(0).uniform(size=(1, 2, 2, 3)).astype("float32")
    assert tfa.image.adjust_hsv_in_yiq(images, 0.5).shape == (1, 2, 2, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"loss": lambda: tfa.losses.GIoULoss()},
            r"Use keras_ext\.losses\.IoU\. Until then, keras_ext\.addons\.loss makes",
        ),
        (
            {"optimizer": lambda: tfa.optimizers.LAMB()},
            r"Use keras\.optimizers\.Lamb\. Until then, keras_ext\.addons\.optimizer",
        ),
        (
            {"optimizer": lambda: tfa.optimizers.COCOB()},
            r"Where did it go.*Until then, keras_ext\.addons\.optimizer makes",
        ),
        (
            {"metrics": lambda: [tfa.metrics.RSquare()]},
            r"keras\.metrics\.R2Score\. Until then, keras_ext\.addons\.metric makes",
        ),
        (
            {"metrics": lambda: [tf_keras.metrics.AUC()]},
            r"keras\.metrics\.AUC\. Until then, keras_ext\.addons\.metric makes",
        ),
        (
            {"optimizer": lambda: tf_keras.optimizers.Adam()},
            r"Use keras\.optimizers\.Adam\.$",
        ),
    ],
)
def test_a_trainer_refuses_what_is_not_adapted(arguments, message):
    arguments = {name: make() for name, make in arguments.items()}
    with pytest.raises(ValueError, match=message):
        keras_ext.Trainer(small(keras)).compile(
            **{"optimizer": "sgd", "loss": "mse", **arguments}
        )


def test_what_the_errors_name_is_there():
    for was, now in RENAMED.items():
        package, room, name = now.split(".")
        assert hasattr(
            getattr({"keras": keras, "keras_ext": keras_ext}[package], room), name
        )
        rooms = (tfa.layers, tfa.losses, tfa.metrics, tfa.optimizers)
        assert any(hasattr(one, was) for one in rooms)


def lamb(**others):
    config = addons.optimizer(tfa.optimizers.LAMB()).get_config()["legacy"]
    return {**config, **others}


LAMBDA = {"class_name": "__lambda__", "config": {"value": "x"}, "module": "builtins"}
HOSTILE = {
    "another module": lamb(module="os", class_name="system", registered_name=None),
    "a module of a module": lamb(
        module="tf_keras.src.utils.io_utils.os",
        class_name="system",
        registered_name=None,
    ),
    "what a module imports": lamb(
        module="tf_keras.src.saving.saving_lib",
        class_name="ZipFile",
        registered_name=None,
    ),
    "a lambda": lamb(config={"learning_rate": LAMBDA}),
    "a Lambda layer": {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"function": ["x", None, None], "function_type": "lambda"},
        "registered_name": None,
    },
    "any operation": {
        "module": "tf_keras.src.layers.core.tf_op_layer",
        "class_name": "TFOpLambda",
        "config": {"function": "io.write_file", "name": "write"},
        "registered_name": None,
    },
    "no name": lamb(class_name=None, registered_name=None),
    "a module to import": lamb(module="antigravity"),
    "a module and a registered name": lamb(
        module="antigravity", class_name="Addons>LAMB", registered_name="nothing"
    ),
    "a function that reads": {
        "module": "keras.models",
        "class_name": "function",
        "config": "load_model",
    },
    "a function of another module": {
        "module": "subprocess",
        "class_name": "function",
        "config": "run",
    },
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_makes_no_object_of_another_package(name):
    for kind in (AddonsLayer, AddonsLoss, AddonsOptimizer):
        with pytest.raises(
            ValueError, match="only classes and functions of tensorflow"
        ):
            kind.from_config({"legacy": HOSTILE[name]})
    assert "antigravity" not in sys.modules


@tf_keras.saving.register_keras_serializable("mine", "LAMB")
class Mine(tf_keras.optimizers.legacy.SGD):
    """A class of the user's, which a file may not name either."""


def test_a_file_makes_no_object_that_was_registered_by_others():
    with pytest.raises(ValueError, match="Received: 'LAMB' of "):
        AddonsOptimizer.from_config(
            {"legacy": lamb(module=None, registered_name="mine>LAMB")}
        )


def test_a_function_without_a_name_is_not_saved():
    loss = addons.loss(tfa.losses.TripletHardLoss(distance_metric=lambda x: x @ x.T))
    with (
        pytest.warns(UserWarning, match="lambda"),
        pytest.raises(ValueError, match="and no lambda"),
    ):
        loss.get_config()


def test_a_file_is_loaded_by_another_process(tmp_path):
    """After an import without the bridge has failed, and with no change elsewhere."""
    model = small(keras)
    model.compile(
        addons.optimizer(
            tfa.optimizers.Lookahead(tf_keras.optimizers.legacy.Adam(1e-2))
        ),
        addons.loss(tfa.losses.PinballLoss(tau=0.2)),
        metrics=[addons.metric(tfa.metrics.RSquare())],
    )
    model.fit(X, Y, **FIT)
    file = tmp_path / "model.keras"
    model.save(file)
    code = (
        "import os, keras, numpy as np, tensorflow as tf\n"
        "try:\n"
        "    import tensorflow_addons\n"
        "except ImportError:\n"
        "    import keras_ext\n"
        f"model = keras.saving.load_model({str(file)!r})\n"
        "import tensorflow_addons as tfa\n"
        "assert tfa is keras_ext.addons.tfa\n"
        "assert tfa.layers.Maxout.__base__.__module__.startswith('tf_keras.')\n"
        "assert tf.keras.Model is keras.Model\n"
        "import tf_keras\n"
        "theirs = tfa.layers.spectral_normalization.tf\n"
        "assert theirs.initializers is tf_keras.initializers\n"
        "assert theirs.compat.v2.keras is tf_keras\n"
        "glorot = theirs.compat.v1.keras.initializers.glorot_uniform\n"
        "assert glorot is tf.compat.v1.initializers.glorot_uniform\n"
        "assert theirs.compat.v1.float32 is tf.float32\n"
        "assert theirs.compat.v2.float32 is tf.float32\n"
        "assert tf.initializers is not tf_keras.initializers\n"
        "assert 'TF_USE_LEGACY_KERAS' not in os.environ\n"
        "rng = np.random.default_rng(0)\n"
        "x = rng.normal(size=(48, 5)).astype('float32')\n"
        "y = rng.normal(size=(48, 1)).astype('float32')\n"
        f"print(model.fit(x, y, **{FIT!r}).history)"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == str(model.fit(X, Y, **FIT).history)


def test_a_callback():
    stopping = addons.callback(tfa.callbacks.TimeStopping(seconds=0))
    assert "on_train_batch_end" not in vars(stopping)
    for model in (small(keras), keras_ext.Trainer(small(keras))):
        model.compile("sgd", "mse")
        history = model.fit(X, Y, **{**FIT, "epochs": 3}, callbacks=[stopping])
        assert history.epoch == [0]
    with pytest.raises(TypeError, match=r"Use keras\.callbacks\.ModelCheckpoint"):
        addons.callback(tfa.callbacks.AverageModelCheckpoint(True, "file"))
    with pytest.raises(TypeError, match=r"`addons\.callback` must be of TensorFlow"):
        addons.callback(tf.summary)


def test_no_other_name():
    with pytest.raises(AttributeError, match="has no attribute 'tf'"):
        addons.tf  # noqa: B018 - reading it raises

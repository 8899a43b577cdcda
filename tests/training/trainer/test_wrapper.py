"""What a Trainer shows of the model that it wraps, and how it is saved."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ext import Trainer
from tests.training.problems import Subclassed

X, Y = np.ones((8, 2), "float32"), np.zeros((8, 1), "float32")


def sequential():
    return keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")]
    )


def two_outputs():
    inputs = keras.Input((2,))
    dense = [
        keras.layers.Dense(1, kernel_initializer="ones", name=name)(inputs)
        for name in ("a", "b")
    ]
    return keras.Model(inputs, dense)


class TestShown:
    @pytest.mark.parametrize("make", [sequential, two_outputs])
    def test_what_the_model_shows(self, make):
        model = make()
        trainer = Trainer(model)
        assert trainer.layers == model.layers
        assert trainer.get_layer(index=-1) is model.layers[-1]
        assert trainer.get_layer(model.layers[0].name) is model.layers[0]
        for name in ("inputs", "outputs", "input_shape", "output_shape"):
            assert getattr(trainer, name) == getattr(model, name)
        features = keras.Model(trainer.inputs, trainer.get_layer(index=-1).output)
        np.testing.assert_array_equal(features([X]), np.full((8, 1), 2.0))

    def test_shapes_of_the_model_and_kinds_of_its_outputs(self):
        x = keras.Input((2,))
        labels = keras.layers.Lambda(
            lambda x: keras.ops.argmax(x, axis=1), output_shape=()
        )
        trainer = Trainer(keras.Model(x, labels(x)))
        assert trainer.compute_output_shape((5, 2)) == (5,)
        output = trainer(x)
        assert (output.shape, output.dtype) == ((None,), "int32")

    def test_shapes_of_a_trainer_that_defines_call(self):
        class Own(Trainer):
            def call(self, x):
                return x

        class Shaped(Own):
            def compute_output_shape(self, shape):
                return (*shape, 7)

        x = keras.Input((2,))
        assert Own()(x).shape == (None, 2)
        assert Shaped()(x).shape == (None, 2, 7)
        with pytest.raises(NotImplementedError, match="compute_output_shape"):
            Own().compute_output_shape((5, 2))

    def test_layers_of_its_own_come_after_the_models(self):
        trainer = Trainer(sequential())
        trainer.teacher = keras.Sequential([keras.layers.Dense(1)])
        trainer.first = trainer.model.layers[0]
        assert trainer.layers == [*trainer.model.layers, trainer.teacher]
        with pytest.raises(AttributeError, match="reserved"):
            trainer.layers = []

    @pytest.mark.parametrize("name", ["inputs", "outputs", "input", "output_names"])
    def test_what_a_subclassed_model_has_not(self, name):
        trainer = Trainer(Subclassed())
        assert not hasattr(trainer, name)
        with pytest.raises(AttributeError, match=rf"{name}`, since `trainer\.model`"):
            getattr(trainer, name)

    def test_what_only_the_model_has(self):
        trainer = Trainer(sequential())
        assert not hasattr(trainer, "pop")
        with pytest.raises(AttributeError, match=r"'pop'.*: `trainer\.model\.pop`$"):
            trainer.pop()
        with pytest.raises(AttributeError, match=r"attribute 'push'$"):
            trainer.push()

    def test_errors_of_a_property_are_its_own(self):
        class Broken(Trainer):
            @property
            def pop(self):
                return None.wrong

        with pytest.raises(AttributeError, match=r"attribute 'wrong'$"):
            Broken(sequential()).pop  # noqa: B018 - reading is the point

    def test_what_a_trainer_that_defines_call_has_not(self):
        with pytest.raises(AttributeError, match="`inputs`, since it is defined by"):
            Trainer().inputs  # noqa: B018 - reading is the point

    def test_a_saved_model_has_a_signature(self, tmp_path):
        for make in (sequential, two_outputs):
            trainer = Trainer(make())
            tf.saved_model.save(trainer, tmp_path / "m")
            loaded = tf.saved_model.load(tmp_path / "m")
            serve = loaded.signatures["serving_default"]
            outputs = serve(inputs=tf.constant(X))
            assert len(outputs) == len(trainer.outputs)
            for output in outputs.values():
                np.testing.assert_array_equal(output, np.full((8, 1), 2.0))


@keras.saving.register_keras_serializable(package="tests")
class HandsOn(Trainer):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


class TestSaved:
    def test_a_subclass_that_hands_on_all_arguments(self, tmp_path):
        trainer = HandsOn(sequential(), seed=3)
        trainer.compile("sgd", "mse")
        trainer.save(tmp_path / "t.keras")
        loaded = keras.saving.load_model(tmp_path / "t.keras")
        assert (type(loaded), loaded.seed) == (HandsOn, 3)
        np.testing.assert_array_equal(loaded(X), trainer(X))

    def test_a_subclass_that_takes_no_keywords(self):
        class Positional(Trainer):
            def __init__(self, *args):
                super().__init__(*args)

        with pytest.raises(NotImplementedError, match=r"takes \(args\)"):
            Positional(sequential()).get_config()

    @pytest.mark.parametrize("name", ["t.h5", "t.hdf5"])
    def test_hdf5_is_refused(self, name, tmp_path):
        with pytest.raises(ValueError, match="saved as HDF5 could not be loaded"):
            Trainer(sequential()).save(tmp_path / name)
        assert not list(tmp_path.iterdir())

    def test_built_as_the_model_is(self, tmp_path):
        model = keras.Sequential([keras.layers.Dense(1)])
        trainer = Trainer(model)
        assert not trainer.built
        model.build((None, 2))
        assert trainer.built
        trainer.save_weights(tmp_path / "w.weights.h5")
        trainer.load_weights(tmp_path / "w.weights.h5")


@keras.saving.register_keras_serializable(package="tests")
class Pair(Trainer):
    """Two networks, no `call`: as a GAN."""

    def __init__(self, first, second, **kwargs):
        super().__init__(**kwargs)
        self.first = first
        self.second = second
        self.second_optimizer = keras.optimizers.Adam(0.01)

    def get_config(self):
        parts = {"first": self.first, "second": self.second}
        return super().get_config() | {
            name: keras.saving.serialize_keras_object(part)
            for name, part in parts.items()
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = ("first", "second")
        return cls(
            **{
                name: keras.saving.deserialize_keras_object(value)
                if name in parts
                else value
                for name, value in config.items()
            }
        )

    def train_step(self, data):
        x, y = data
        losses = []
        for part, optimizer in (
            (self.first, self.optimizer),
            (self.second, self.second_optimizer),
        ):
            with tf.GradientTape() as tape:
                losses.append(tf.reduce_mean(tf.square(part(x) - y)))
            variables = part.trainable_variables
            optimizer.apply(tape.gradient(losses[-1], variables), variables)
        return {"loss": losses[0], "second": losses[1]}


class TestSeveralNetworks:
    def test_saved_by_checkpoints_and_loaded(self, tmp_path):
        trainer = Pair(sequential(), sequential())
        trainer.compile(keras.optimizers.Adam(0.01))
        assert trainer.built
        save = keras.callbacks.ModelCheckpoint
        callbacks = [
            save(tmp_path / "pair.keras"),
            save(tmp_path / "pair.weights.h5", save_weights_only=True),
        ]
        trainer.fit(X, Y, callbacks=callbacks, verbose=0)
        expected = trainer.get_weights()
        # Keras: only the step knows which variables an optimizer serves.
        with pytest.warns(UserWarning, match="Skipping variable loading for optim"):
            loaded = keras.saving.load_model(tmp_path / "pair.keras")
        read = Pair(sequential(), sequential())
        with pytest.warns(UserWarning, match="Skipping variable loading for optim"):
            read.load_weights(tmp_path / "pair.weights.h5")
        for other in (loaded, read):
            np.testing.assert_equal(other.get_weights(), expected)
        loaded.fit(X, Y, verbose=0)

    def test_not_built_while_a_part_is_not(self, tmp_path):
        trainer = Pair(sequential(), keras.Sequential([keras.layers.Dense(1)]))
        assert not trainer.built
        with pytest.raises(ValueError, match="not yet been built"):
            trainer.save_weights(tmp_path / "pair.weights.h5")


class TestComputeLoss:
    def test_without_the_argument_training(self):
        """Keras allows it, since it had none itself once."""

        class Doubled(Trainer):
            def compute_loss(self, x, y, y_pred, sample_weight=None):
                return 2 * super().compute_loss(x, y, y_pred, sample_weight)

        class Tripled(Doubled):
            def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
                return 3 * super().compute_loss(x, y, y_pred, sample_weight, training)

        class Mixin:
            def compute_loss(self, x, y, y_pred, sample_weight=None):
                return 5 * super().compute_loss(x, y, y_pred, sample_weight)

        class Mixed(Mixin, Trainer):
            pass

        for kind, factor in ((Doubled, 2), (Tripled, 6), (Mixed, 5)):
            for drive in (Trainer.fit, keras.Model.fit):
                trainer = kind(sequential())
                trainer.compile(keras.optimizers.SGD(0.0), "mse")
                history = drive(trainer, X, Y, validation_data=(X, Y), verbose=0)
                assert history.history == {
                    "loss": [4.0 * factor],
                    "val_loss": [4.0 * factor],
                }


class TestLossWeights:
    @pytest.mark.parametrize(
        "weights",
        [
            [1, 0.5],
            np.array([1.0, 0.5]),
            tf.constant([1.0, 0.5]),
            (np.float32(1), np.array(0.5)),
        ],
    )
    def test_arrays(self, weights):
        trainer = Trainer(two_outputs())
        trainer.compile("sgd", ["mse", "mse"], loss_weights=weights)
        assert trainer.test_on_batch(X, [Y, Y], return_dict=True)["loss"] == 6.0

    @pytest.mark.parametrize("weight", [2, np.float64(2), np.array(2.0), [2]])
    def test_a_single_one(self, weight, tmp_path):
        trainer = Trainer(sequential())
        trainer.compile("sgd", "mse", loss_weights=weight)
        assert trainer.test_on_batch(X, Y, return_dict=True)["loss"] == 8.0
        trainer.save(tmp_path / "t.keras")
        keras.saving.load_model(tmp_path / "t.keras")

    def test_a_single_one_for_two_losses(self):
        with pytest.raises(ValueError, match="one number for each loss"):
            Trainer(two_outputs()).compile("sgd", ["mse", "mse"], loss_weights=2)


class Prepares(keras.Model):
    """Like a task of KerasHub: the network takes what `preprocessor` returns."""

    def __init__(self):
        inputs = keras.Input((2,))
        outputs = keras.layers.Dense(1, kernel_initializer="ones")(inputs)
        super().__init__(inputs, outputs)
        self.preprocessor = keras.layers.Rescaling(0.5)

    def fit(self, x, *args, **kwargs):
        return super().fit(self.preprocessor(x), *args, **kwargs)

    def evaluate(self, x, *args, **kwargs):
        return super().evaluate(self.preprocessor(x), *args, **kwargs)


class TestPasses:
    def test_a_model_that_prepares_its_data_is_refused(self):
        with pytest.raises(
            ValueError,
            match=r"Prepares overrides `fit`, `evaluate`, .*"
            r"dataset\.map\(task\.preprocessor\).*Trainer\(keras\.Model\(task\.inputs",
        ):
            Trainer(Prepares())

    def test_what_the_message_advises(self):
        expected = Prepares()
        expected.compile("sgd", "mse")
        loss = expected.evaluate(X, Y, verbose=0)
        dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)
        task = Prepares()
        dataset = dataset.map(lambda x, y: (task.preprocessor(x), y))
        network = keras.Model(task.inputs, task.outputs)
        task.preprocessor = None
        for model in (network, task):
            trainer = Trainer(model)
            trainer.compile("sgd", "mse")
            assert trainer.evaluate(dataset, verbose=0) == loss == 1.0
        assert [id(v) for v in network.weights] == [id(v) for v in task.weights]

    @pytest.mark.parametrize("name", ["fit", "predict", "test_on_batch"])
    def test_a_model_with_passes_of_its_own(self, name):
        own = type("Own", (keras.Model,), {name: lambda self, *args: None})
        with pytest.raises(ValueError, match=f"Own overrides `{name}`.*Derive the cl"):
            Trainer(own())


@pytest.mark.once
@pytest.mark.parametrize(
    ("model", "advice"),
    [
        ("model.keras", r"load_model"),
        ([], r"keras\.Sequential\(\[\.\.\.\]\)"),
        (keras.layers.Dense(1), r"keras\.Sequential\(\[\.\.\.\]\)"),
        (keras.Sequential, "Create an instance"),
    ],
)
def test_what_is_not_a_model(model, advice):
    with pytest.raises(TypeError, match=f"must be a keras.Model.*Received.*{advice}"):
        Trainer(model)


@pytest.mark.once
def test_choices_of_xla():
    trainer = Trainer(keras.Sequential([keras.layers.Dense(1)]))
    with pytest.raises(ValueError, match=r"`jit_compile` must be one of.*'yes'"):
        trainer.compile("sgd", "mse", jit_compile="yes")

"""What `Trainer` adds to a Keras model, and what it must leave as it was."""

import copy

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ext
from keras_ext import Loop, Trainer
from tests.training.problems import (
    CLASSIFY,
    LABELS,
    PROBLEMS,
    TARGETS,
    Subclassed,
    X,
    classifier,
    list_inputs,
    subclassed,
    two_outputs,
    unbuilt,
)


def compiled(model=None, **kwargs):
    trainer = Trainer(model or classifier(), **kwargs)
    trainer.compile(keras.optimizers.Adam(0.01), **CLASSIFY)
    return trainer


class Clipped(Trainer):
    """Clips the gradients to a global norm."""

    norms: list

    def compute_gradients(self, tape, loss):
        gradients = super().compute_gradients(tape, loss)
        clipped, _ = tf.clip_by_global_norm(gradients, 0.01)
        return clipped


@keras.saving.register_keras_serializable(package="tests")
class Line(Trainer):
    """A model written with `call` on top of Trainer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(1)

    def call(self, inputs):
        return self.dense(inputs)


class GAN(Trainer):
    """Two networks, two optimizers, one step; it has no `call`."""

    def __init__(self, generator, discriminator, **kwargs):
        super().__init__(**kwargs)
        self.generator = generator
        self.discriminator = discriminator
        self.loss_fn = keras.losses.BinaryCrossentropy(from_logits=True)
        self.g_loss = keras.metrics.Mean(name="g_loss")
        self.d_loss = keras.metrics.Mean(name="d_loss")
        self.g_optimizer = keras.optimizers.Adam(0.01)
        self.d_optimizer = keras.optimizers.Adam(0.01)

    def train_step(self, data):
        samples = tf.shape(data)[0]
        noise = tf.fill((samples, 2), 0.3)
        real, fake = tf.ones((samples, 1)), tf.zeros((samples, 1))
        with tf.GradientTape() as tape:
            judged_real = self.discriminator(data, training=True)
            judged_fake = self.discriminator(
                self.generator(noise, training=True), training=True
            )
            loss = self.loss_fn(real, judged_real) + self.loss_fn(fake, judged_fake)
        variables = self.discriminator.trainable_variables
        self.d_optimizer.apply(tape.gradient(loss, variables), variables)
        self.d_loss.update_state(loss)
        with tf.GradientTape() as tape:
            judged = self.discriminator(self.generator(noise, training=True))
            loss = self.loss_fn(real, judged)
        variables = self.generator.trainable_variables
        self.g_optimizer.apply(tape.gradient(loss, variables), variables)
        self.g_loss.update_state(loss)
        return {"d_loss": self.d_loss.result(), "g_loss": self.g_loss.result()}


def gan():
    keras.utils.set_random_seed(1)
    generator = keras.Sequential([keras.Input((2,)), keras.layers.Dense(6)])
    discriminator = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    trainer = GAN(generator, discriminator)
    trainer.compile()
    return trainer, (X,)


def clipped():
    trainer = Clipped(classifier())
    trainer.compile(keras.optimizers.SGD(1.0), **CLASSIFY)
    return trainer, (X, LABELS)


def in_a_loop(trainer, *data, epochs, **_):
    loop = Loop(trainer, epochs=epochs, verbose=0)
    for epoch in loop:
        for batch in epoch.batches(data if len(data) > 1 else data[0], shuffle=False):
            epoch.log(trainer.step(batch))
    return loop.history


DRIVERS = [Trainer.fit, keras.Model.fit, in_a_loop]


class TestOverriding:
    @pytest.mark.parametrize("make", [gan, clipped])
    def test_same_numbers_under_every_driver(self, make):
        results = []
        for drive in DRIVERS:
            trainer, data = make()
            history = drive(trainer, *data, epochs=3, shuffle=False, verbose=0)
            results.append((trainer.get_weights(), history.history))
        for weights, history in results[1:]:
            assert history.keys() == results[0][1].keys()
            for name in history:
                np.testing.assert_allclose(
                    history[name], results[0][1][name], rtol=1e-6
                )
            for a, b in zip(weights, results[0][0], strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)

    def test_clipping_limits_the_step(self):
        trainer, (x, y) = clipped()
        before = [v.numpy() for v in trainer.trainable_variables]
        trainer.step((x, y))
        after = [v.numpy() for v in trainer.trainable_variables]
        moved = np.sqrt(
            sum(((a - b) ** 2).sum() for a, b in zip(before, after, strict=True))
        )
        assert moved == pytest.approx(0.01, rel=1e-3)

    def test_gan_trains_both_networks(self):
        trainer, (x,) = gan()
        before = trainer.get_weights()
        trainer.fit(x, epochs=1, verbose=0)
        for old, new in zip(before, trainer.get_weights(), strict=True):
            assert not np.array_equal(old, new)

    def test_each_hook_is_called_in_every_trace(self):
        calls = []

        class Recording(Trainer):
            def forward(self, x, training):
                calls.append(("forward", training))
                return super().forward(x, training)

            def compute_loss(self, *args, training=True):
                calls.append(("compute_loss", training))
                return super().compute_loss(*args, training=training)

            def compute_gradients(self, tape, loss):
                calls.append(("compute_gradients",))
                return super().compute_gradients(tape, loss)

            def apply_gradients(self, gradients):
                calls.append(("apply_gradients",))
                return super().apply_gradients(gradients)

            def compute_metrics(self, *args):
                calls.append(("compute_metrics",))
                return super().compute_metrics(*args)

        trainer = Recording(classifier())
        trainer.compile("sgd", **CLASSIFY)
        for _ in range(3):
            trainer.step((X[:8], LABELS[:8]))
        expected = [
            ("forward", True),
            ("compute_loss", True),
            ("compute_gradients",),
            ("apply_gradients",),
            ("compute_metrics",),
        ]
        # TensorFlow traces once more when the first trace has made variables.
        assert calls in (expected, expected * 2)
        calls.clear()
        trainer.evaluate(X, LABELS, verbose=0, batch_size=70)
        assert calls == [
            ("forward", False),
            ("compute_loss", False),
            ("compute_metrics",),
        ]
        calls.clear()
        trainer.predict(X, verbose=0, batch_size=70)
        assert calls == [("forward", False)]

    def test_a_subclass_may_define_call(self, tmp_path):
        trainer = Line()
        trainer.compile(keras.optimizers.Adam(0.01), loss="mse")
        assert trainer.model is trainer
        trainer.fit(X, TARGETS, verbose=0)
        expected = trainer.predict(X, verbose=0)
        trainer.save(tmp_path / "line.keras")
        loaded = keras.models.load_model(tmp_path / "line.keras")
        trainer.save_weights(tmp_path / "line.weights.h5")
        fresh = Line()
        fresh(X)
        fresh.load_weights(tmp_path / "line.weights.h5")
        for other in (loaded, fresh, copy.deepcopy(trainer)):
            np.testing.assert_array_equal(other.predict(X, verbose=0), expected)
        assert int(loaded.optimizer.iterations) == 3

    def test_data_reaches_train_step_as_stock_fit_gives_it(self):
        seen = []

        class Look(Trainer):
            def train_step(self, data):
                seen.append(type(data))
                return {"loss": tf.constant(0.0)}

        for drive in (Trainer.fit, keras.Model.fit):
            for data in [(X,), (X, LABELS)]:
                trainer = Look(classifier())
                trainer.compile()
                drive(trainer, *data, verbose=0)
        assert not issubclass(seen[0], tuple)
        assert seen[1] is tuple
        assert seen[:2] == seen[2:]


class TestModel:
    @pytest.mark.parametrize("make", [classifier, two_outputs, list_inputs])
    def test_computes_what_the_model_computes(self, make):
        model = make()
        inputs = {"first": X[:, :3], "second": X[:, 3:]}
        if make is classifier:
            inputs = X
        if make is list_inputs:
            inputs = [X[:, :3], X[:, 3:]]
        expected, actual = model(inputs), Trainer(model)(inputs)
        keras.tree.map_structure(np.testing.assert_array_equal, expected, actual)

    def test_training_reaches_the_layers(self):
        model = PROBLEMS["dropout"].model()
        trainer = Trainer(model)
        quiet = trainer(X, training=False)
        np.testing.assert_array_equal(quiet, model(X, training=False))
        assert not np.array_equal(trainer(X, training=True), quiet)

    def test_summary_shows_the_layers(self):
        lines = []
        compiled().summary(print_fn=lambda line, **_: lines.append(line))
        assert "batch_normalization" in "\n".join(lines)

    def test_save_and_load_continue_the_training(self, tmp_path):
        trainer = compiled(seed=4)
        trainer.fit(X, LABELS, epochs=2, verbose=0)
        trainer.save(tmp_path / "trainer.keras")
        loaded = keras.models.load_model(tmp_path / "trainer.keras")
        assert type(loaded) is Trainer
        assert loaded.seed == 4
        for t in (trainer, loaded):
            t.fit(X, LABELS, epochs=2, verbose=0)
        for a, b in zip(loaded.variables, trainer.variables, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
        for a, b in zip(
            loaded.optimizer.variables, trainer.optimizer.variables, strict=True
        ):
            np.testing.assert_array_equal(a.numpy(), b.numpy())

    def test_weights_files_are_the_models(self, tmp_path):
        trainer, bare = compiled(), classifier()
        trainer.fit(X, LABELS, verbose=0)
        trainer.save_weights(tmp_path / "a.weights.h5")
        bare.load_weights(tmp_path / "a.weights.h5")
        np.testing.assert_array_equal(bare(X), trainer(X))
        fresh = Trainer(classifier())
        bare.save_weights(tmp_path / "b.weights.h5")
        fresh.load_weights(tmp_path / "b.weights.h5")
        np.testing.assert_array_equal(bare(X), fresh(X))

    def test_export(self, tmp_path):
        trainer = compiled()
        trainer.export(tmp_path / "model", verbose=False)
        loaded = tf.saved_model.load(tmp_path / "model")
        np.testing.assert_allclose(loaded.serve(X), trainer(X), rtol=1e-6)

    def test_batch_methods(self):
        stock, trainer = classifier(), compiled()
        stock.compile(keras.optimizers.Adam(0.01), **CLASSIFY)
        for method in ("train_on_batch", "test_on_batch"):
            ours = getattr(trainer, method)(X, LABELS, return_dict=True)
            assert ours == getattr(stock, method)(X, LABELS, return_dict=True)
        np.testing.assert_array_equal(
            trainer.predict_on_batch(X), stock.predict_on_batch(X)
        )

    def test_evaluate_and_predict(self):
        stock, trainer = classifier(), compiled()
        stock.compile(keras.optimizers.Adam(0.01), **CLASSIFY)
        for kwargs in ({"return_dict": True}, {}, {"batch_size": 9}):
            assert trainer.evaluate(X, LABELS, verbose=0, **kwargs) == stock.evaluate(
                X, LABELS, verbose=0, **kwargs
            )
        np.testing.assert_array_equal(
            trainer.predict(X, verbose=0), stock.predict(X, verbose=0)
        )

    def test_metrics_of_the_wrapped_model_are_logged_and_reset(self):
        trainer = Trainer(subclassed())
        trainer.compile("sgd", **CLASSIFY)
        history = trainer.fit(X, LABELS, epochs=2, verbose=0)
        assert "peak" in history.history
        trainer.reset_metrics()
        assert trainer.model.peak.count.numpy() == 0

    def test_freezing_a_layer_takes_effect_in_the_next_fit(self):
        trainer = compiled()
        trainer.fit(X, LABELS, verbose=0)
        layer = trainer.model.layers[0]
        layer.trainable = False
        before = layer.kernel.numpy()
        trainer.fit(X, LABELS, verbose=0)
        np.testing.assert_array_equal(layer.kernel.numpy(), before)

    def test_unfreezing_and_compiling_again(self):
        model = classifier()
        model.layers[0].trainable = False
        trainer = compiled(model)
        before = model.layers[0].kernel.numpy()
        trainer.step((X, LABELS))
        np.testing.assert_array_equal(model.layers[0].kernel.numpy(), before)
        model.layers[0].trainable = True
        trainer.compile("sgd", **CLASSIFY)
        trainer.step((X, LABELS))
        assert not np.array_equal(model.layers[0].kernel.numpy(), before)

    def test_compile_again_forgets_the_old_step(self):
        trainer = compiled()
        trainer.step((X, LABELS))
        trainer.compile(keras.optimizers.SGD(0.0), **CLASSIFY)
        before = trainer.get_weights()[0]
        trainer.step((X, LABELS))
        np.testing.assert_array_equal(trainer.get_weights()[0], before)

    def test_other_shapes_and_a_second_fit(self):
        trainer = Trainer(unbuilt())
        trainer.compile("sgd", **CLASSIFY)
        for rows in (70, 33, 70):
            trainer.fit(X[:rows], LABELS[:rows], verbose=0)
        assert int(trainer.optimizer.iterations) == 3 + 2 + 3

    @pytest.mark.parametrize(
        "use",
        [
            lambda t: t.train_on_batch(X, LABELS),
            lambda t: keras.Model.fit(t, X, LABELS, verbose=0),
        ],
    )
    def test_step_beside_stock_methods(self, use):
        trainer = compiled()
        use(trainer)
        trainer.step((X, LABELS))
        trainer.compile(keras.optimizers.SGD(0.0), **CLASSIFY)
        use(trainer)
        before = trainer.get_weights()[0]
        trainer.step((X, LABELS))
        np.testing.assert_array_equal(trainer.get_weights()[0], before)

    def test_the_policy_is_the_models(self):
        keras.utils.set_random_seed(1)
        half = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
        inputs = np.full((2, 6), 70001.0, "float32")
        expected = half(inputs)
        keras.config.set_dtype_policy("mixed_float16")
        try:
            np.testing.assert_array_equal(Trainer(half)(inputs), expected)
            mixed = classifier()
        finally:
            keras.config.set_dtype_policy("float32")
        trainer = compiled(mixed)
        assert isinstance(trainer.optimizer, keras.optimizers.LossScaleOptimizer)
        trainer.fit(X, LABELS, verbose=0)

    def test_a_model_whose_call_requires_training(self):
        class Strict(keras.Model):
            def __init__(self):
                super().__init__()
                self.dense = keras.layers.Dense(3, activation="softmax")

            def call(self, inputs, training):
                return self.dense(inputs) if training else -self.dense(inputs)

        trainer = compiled(Strict())
        trainer.fit(X, LABELS, verbose=0)
        assert (trainer.predict(X, verbose=0) < 0).all()

    def test_a_model_compiled_after_it_was_wrapped(self):
        model = classifier()
        trainer = Trainer(model)
        trainer.compile("sgd", loss="sparse_categorical_crossentropy")
        model.compile(metrics=["accuracy"])
        looks = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)
        with pytest.warns(UserWarning, match="trains it with another optimizer"):
            history = trainer.fit(X, LABELS, verbose=0, callbacks=[looks])
        assert list(history.history) == ["loss"]

    def test_nothing_to_train(self):
        model = classifier()
        model.trainable = False
        trainer = Trainer(model)
        trainer.compile(None, **CLASSIFY)
        with pytest.warns(UserWarning, match="no trainable variables"):
            trainer.fit(X, LABELS, verbose=0)

    def test_functions_run_eagerly(self):
        seen = []

        class Eager(Trainer):
            def train_step(self, data):
                logs = super().train_step(data)
                seen.append(float(logs["loss"]))
                return logs

        trainer = Eager(classifier())
        trainer.compile("sgd", **CLASSIFY)
        tf.config.run_functions_eagerly(True)
        try:
            trainer.fit(X, LABELS, verbose=0)
        finally:
            tf.config.run_functions_eagerly(False)
        assert len(seen) == 3

    def test_a_strategy_of_one_replica(self):
        with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
            trainer = compiled()
        trainer.fit(X, LABELS, verbose=0)
        assert int(trainer.optimizer.iterations) == 3

    def test_limits_for_debugging(self):
        trainer = compiled()
        keras.config.set_max_epochs(2)
        keras.config.set_max_steps_per_epoch(1)
        try:
            with pytest.warns(UserWarning, match="Limiting"):
                trainer.fit(X, LABELS, batch_size=8, epochs=5, verbose=0)
        finally:
            keras.config.set_max_epochs(None)
            keras.config.set_max_steps_per_epoch(None)
        assert int(trainer.optimizer.iterations) == 2

    def test_validation_from_a_generator(self):
        def batches():
            for at in range(0, 60, 10):
                yield X[at : at + 10], LABELS[at : at + 10]

        history = compiled().fit(
            X,
            LABELS,
            epochs=3,
            verbose=0,
            validation_data=batches(),
            validation_steps=2,
        )
        assert len(history.history["val_loss"]) == 3

    def test_strings_and_ragged_rows(self):
        keras.utils.set_random_seed(1)
        lookup = keras.layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
        words = keras.Sequential(
            [keras.Input((), dtype="string"), lookup, keras.layers.Dense(1)]
        )
        trainer = Trainer(words)
        trainer.compile("sgd", loss="mse")
        for x in (tf.constant(["a", "b", "a"]), np.array(["a", "b", "a"], object)):
            trainer.fit(x, np.ones((3, 1)), verbose=0)

    def test_traces_are_few(self):
        traces = []

        class Counting(Trainer):
            def train_step(self, data):
                traces.append(1)
                return super().train_step(data)

        trainer = Counting(classifier())
        trainer.compile("sgd", **CLASSIFY)
        trainer.step((X, LABELS))
        for size in (32, 16, 7, 13):
            trainer.fit(X, LABELS, batch_size=size, epochs=2, verbose=0)
        assert len(traces) <= 2


class TestAdoption:
    def test_a_compiled_model_lends_its_compilation(self):
        model = classifier()
        model.compile(
            keras.optimizers.Adam(0.02),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2)],
        )
        model.fit(X, LABELS, verbose=0)
        trainer = Trainer(model)
        assert trainer.optimizer is model.optimizer
        assert trainer.evaluate(X, LABELS, verbose=0) == model.evaluate(
            X, LABELS, verbose=0
        )

    def test_training_goes_on_as_the_model_would(self):
        results = []
        for wrap in (False, True):
            model = classifier()
            model.compile(keras.optimizers.Adam(0.02), **CLASSIFY)
            model.fit(X, LABELS, verbose=0, shuffle=False)
            (Trainer(model) if wrap else model).fit(X, LABELS, verbose=0, shuffle=False)
            results.append(model.get_weights())
        for a, b in zip(*results, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_saved_and_loaded_once_more(self, tmp_path):
        model = classifier()
        model.compile(keras.optimizers.Adam(0.02), **CLASSIFY)
        model.fit(X, LABELS, verbose=0)
        trainer = Trainer(model)
        trainer.fit(X, LABELS, verbose=0)
        for saved in (trainer, model):
            saved.save(tmp_path / "t.keras")
            loaded = keras.models.load_model(tmp_path / "t.keras")
            for a, b in zip(
                loaded.optimizer.variables, trainer.optimizer.variables, strict=True
            ):
                np.testing.assert_array_equal(a.numpy(), b.numpy())
            results = loaded.evaluate(X, LABELS, verbose=0)
            assert results == trainer.evaluate(X, LABELS, verbose=0)
        again = keras.models.load_model(tmp_path / "t.keras")
        trainer.save(tmp_path / "t.keras")
        loaded = keras.models.load_model(tmp_path / "t.keras")
        for one in (again, loaded):
            one.fit(X, LABELS, verbose=0, shuffle=False)
        for a, b in zip(again.get_weights(), loaded.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_compiled_again_and_saved(self, tmp_path):
        def unregistered(y, p):
            return keras.ops.mean(p, axis=-1)

        model = classifier()
        model.compile("sgd", loss=unregistered)
        trainer = Trainer(model)
        trainer.compile(keras.optimizers.Adam(0.02), **CLASSIFY)
        with pytest.warns(UserWarning, match="compile only one of the two") as caught:
            trainer.fit(
                X, LABELS, verbose=0, callbacks=keras.callbacks.LambdaCallback()
            )
        assert caught[0].filename == __file__
        # Keras's own callbacks look at the model that they are given.
        trainer.fit(X, LABELS, verbose=0, callbacks=[keras.callbacks.TerminateOnNaN()])
        trainer.save(tmp_path / "t.keras")
        loaded = keras.models.load_model(tmp_path / "t.keras")
        assert not loaded.model.compiled
        for a, b in zip(
            loaded.optimizer.variables, trainer.optimizer.variables, strict=True
        ):
            np.testing.assert_array_equal(a.numpy(), b.numpy())

    @pytest.mark.parametrize("scaled", [False, True])
    def test_a_callback_that_holds_on_to_the_model_sees_what_trains(self, scaled):
        model = classifier()
        optimizer = keras.optimizers.Adam(0.02)
        if scaled:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        model.compile(optimizer, **CLASSIFY)
        trainer, seen = Trainer(model), []
        schedule = keras.callbacks.LearningRateScheduler(
            lambda epoch: 0.1 / (epoch + 1)
        )
        printing = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: seen.append(
                round(float(model.optimizer.learning_rate), 6)
            )
        )
        options = {"epochs": 2, "verbose": 0, "callbacks": [schedule, printing]}
        trainer.fit(X, LABELS, **options)
        assert seen == [0.1, 0.05]

    def test_a_compile_of_its_own(self):
        class Own(Subclassed):
            def compile(self, **options):
                super().compile(**options)

        model = Own()
        model.compile(optimizer=keras.optimizers.Adam(0.02), **CLASSIFY)
        trainer = Trainer(model)
        assert trainer.optimizer is model.optimizer
        trainer.fit(X, LABELS, verbose=0)

    def test_trainable_changed_since_the_model_was_compiled(self):
        model = classifier()
        model.compile("adam", **CLASSIFY)
        model.fit(X, LABELS, verbose=0)
        model.layers[0].trainable = False
        with pytest.raises(ValueError, match="Compile the model again"):
            Trainer(model)

    def test_an_own_loss_function_is_taken_as_it_is(self):
        model = classifier()
        model.compile("sgd", loss=lambda y, p: keras.ops.mean(p, axis=-1))
        assert Trainer(model).loss is model.loss

    def test_a_metric_that_cannot_be_made_again(self):
        def unregistered(y, p):
            return keras.ops.mean(p)

        model = classifier()
        model.compile("sgd", loss="mse", metrics=[unregistered])
        with pytest.raises(ValueError, match="register_keras_serializable"):
            Trainer(model)


class TestErrors:
    def test_functional_arguments(self):
        inputs = keras.Input((2,))
        outputs = keras.layers.Dense(1)(inputs)
        for args, kwargs in [
            ((inputs, outputs), {}),
            ((), {"inputs": inputs, "outputs": outputs}),
        ]:
            with pytest.raises(TypeError, match=r"Trainer\(keras.Model\(inputs"):
                Trainer(*args, **kwargs)

    def test_not_a_model(self):
        with pytest.raises(TypeError, match=r"`model` must be a keras\.Model"):
            Trainer(keras.layers.Dense(1))

    def test_a_trainer_around_a_trainer(self):
        with pytest.raises(ValueError, match=r"Wrap its model: `Trainer\(trainer"):
            Trainer(compiled())

    @pytest.mark.parametrize(
        ("method", "result", "message"),
        [
            ("compute_loss", X, r"must return one number. .* shape \(70, 6\)"),
            ("compute_loss", None, "must return one number. Received: None"),
            ("compute_gradients", None, "6 in total. Received: NoneType"),
            ("compute_gradients", ([], 1.0), "6 in total. Received: tuple of 2"),
        ],
    )
    def test_a_hook_that_returns_something_else(self, method, result, message):
        wrong = type("Wrong", (Trainer,), {method: lambda self, *a, **k: result})
        trainer = wrong(classifier())
        trainer.compile("sgd", **CLASSIFY)
        with pytest.raises(ValueError, match=rf"`Wrong.{method}` .*{message}"):
            trainer.step((X, LABELS))

    @pytest.mark.parametrize("name", ["train_step", "compute_loss"])
    def test_a_model_with_steps_of_its_own(self, name):
        own = type("Own", (keras.Model,), {name: lambda self, *args: None})
        with pytest.raises(ValueError, match=f"Own overrides `{name}`"):
            Trainer(own())

    @pytest.mark.parametrize(
        "name",
        ["trainstep", "train_stpe", "compute_gradient", "Train_step", "aply_gradients"],
    )
    def test_a_misspelt_hook(self, name):
        with pytest.raises(TypeError, match=f"{name} looks like a misspelling"):
            type("Mine", (Trainer,), {name: lambda self: None})

    @pytest.mark.parametrize("name", ["generator_step", "train_step_a", "_forward"])
    def test_own_methods_are_no_misspellings(self, name):
        type("Mine", (Trainer,), {name: lambda self: None})

    @pytest.mark.parametrize("method", ["step", "fit"])
    def test_before_compile(self, method):
        with pytest.raises(RuntimeError, match=rf"Trainer.{method}` needs a compiled"):
            getattr(Trainer(classifier()), method)((X, LABELS))

    def test_no_model_and_no_call(self):
        trainer = Trainer()
        with pytest.raises(NotImplementedError, match="define `call`"):
            trainer.call(X)

    @pytest.mark.parametrize("seed", [-1, 1.5, "a", True])
    def test_seed(self, seed):
        with pytest.raises(ValueError, match="`seed` must be a non-negative integer"):
            Trainer(classifier(), seed=seed)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"x": X[:0], "y": LABELS[:0]}, "The data is empty"),
            ({"x": X, "y": LABELS[:3]}, "same number of samples"),
            ({"x": X, "y": LABELS, "batch_size": 0}, "`batch_size` must be a positive"),
            (
                {"x": X, "y": LABELS, "steps_per_epoch": 2.0},
                "`steps_per_epoch` must be",
            ),
            (
                {"x": tf.data.Dataset.range(3), "steps_per_epoch": 0},
                "`steps_per_epoch` must be a positive integer",
            ),
            (
                {"x": X, "y": LABELS, "validation_data": (X, LABELS)}
                | {"validation_steps": 2.0},
                "`validation_steps` must be a positive integer. Received: .*=2.0",
            ),
            (
                {"x": X, "y": LABELS, "validation_data": (X, LABELS)}
                | {"validation_batch_size": 2.0},
                "`validation_batch_size` must be a positive integer",
            ),
            ({"x": X, "y": LABELS, "epochs": -1}, "`epochs` must be a non-negative"),
            ({"x": X, "y": LABELS, "shuffle": "rows"}, "`shuffle` must be one of"),
            ({"x": X, "y": LABELS, "verbose": 3}, "`verbose` must be one of"),
            ({"x": X, "y": LABELS, "validation_split": 1.5}, "between 0 and 1"),
            ({"x": X, "y": LABELS, "validation_split": 0.999}, "each needs one"),
            ({"x": X, "y": LABELS, "validation_split": "0.5"}, "between 0 and 1"),
            (
                {"x": PROBLEMS["steps per epoch"].fit()["x"], "validation_split": 0.5},
                "`validation_split` needs arrays",
            ),
            (
                {"x": X, "y": LABELS, "class_weight": {0: 1}, "sample_weight": LABELS},
                "cannot both be given",
            ),
            (
                {"x": X, "y": {"a": X, "b": X}, "sample_weight": {"a": LABELS}},
                r"for each of the targets.*Expected: \['a', 'b'\]. Received: \['a'\]",
            ),
            (
                {"x": X, "y": [X, X], "sample_weight": [LABELS]},
                r"for each of the targets.*Expected: 2. Received: 1",
            ),
            ({"x": tf.data.Dataset.range(3), "y": LABELS}, "`y` is for arrays"),
            (
                {"x": tf.data.Dataset.range(3), "batch_size": 3},
                "`batch_size` is for arrays",
            ),
            ({"x": tf.data.Dataset.range(0)}, "yielded no batch in epoch 0"),
            ({"x": X, "class_weight": {0: 1.0}}, "`class_weight` needs a single array"),
            (
                {"x": X, "y": LABELS, "validation_data": (X, LABELS)}
                | {"validation_freq": 0},
                "`validation_freq` must be a positive",
            ),
        ],
    )
    def test_data_arguments(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            compiled().fit(**{"verbose": 0, **arguments})

    def test_python_numbers(self):
        with pytest.raises(
            TypeError, match=r"Convert Python numbers with `np\.asarray"
        ):
            compiled().fit([[1.0, 2.0], [3.0, 4.0]], verbose=0)

    def test_data_of_an_unknown_kind(self):
        with pytest.raises(TypeError, match="Received: 3 of type int"):
            compiled().fit(3, verbose=0)

    def test_a_package_that_replaces_fit(self, monkeypatch):
        tracker = {"__name__": "tracker.patches"}
        exec("def fit(*args): ...\nclass Log: ...", tracker)
        log = type("Log", (tracker["Log"], keras.callbacks.Callback), {})()
        trainer = compiled()
        monkeypatch.setattr(keras.Model, "fit", tracker["fit"])
        with pytest.warns(UserWarning, match="tracker has replaced") as caught:
            trainer.fit(X, LABELS, verbose=0)
        assert caught[0].filename == __file__
        trainer.fit(X, LABELS, verbose=0, callbacks=[[log]])  # its callback is there

    def test_an_argument_that_get_config_does_not_know(self):
        class Weighted(Trainer):
            def __init__(self, model, alpha=1.0, **kwargs):
                super().__init__(model, **kwargs)
                self.alpha = alpha

        with pytest.raises(NotImplementedError, match=r"\(model, alpha, kwargs\)"):
            Weighted(classifier(), alpha=5.0).get_config()

    def test_variables_that_save_weights_leaves_out(self, tmp_path):
        class Scaled(Trainer):
            def __init__(self, model):
                super().__init__(model)
                self.scale = self.add_weight(name="scale")

        with pytest.warns(UserWarning, match=r"without \['scaled/scale'\]"):
            Scaled(classifier()).save_weights(tmp_path / "a.weights.h5")

    def test_a_layer_named_like_a_hook(self):
        trainer = Trainer(classifier())
        with pytest.raises(AttributeError, match="`forward` is a hook of Trainer"):
            trainer.forward = keras.layers.Dense(1)

    def test_model_is_set_once(self):
        with pytest.raises(AttributeError, match=r"super\(\).__init__\(model\)"):
            Trainer().model = classifier()

    @pytest.mark.parametrize("eager", [False, True])
    def test_train_step_that_returns_nothing(self, eager):
        class Silent(Trainer):
            def train_step(self, data):
                return None

        trainer = Silent(classifier())
        trainer.compile("sgd", loss="mse", run_eagerly=eager)
        with pytest.raises(TypeError, match=r"Silent\.train_step` must return a dict"):
            trainer.step((X, LABELS))

    def test_what_a_metric_refuses_is_said_in_its_own_words(self):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        trainer = Trainer(model)
        trainer.compile("sgd", "mse", metrics=[keras_ext.metrics.CohenKappa(4)])
        with pytest.raises(ValueError, match=r"^CohenKappa expects `y_pred` of shape"):
            trainer.fit(np.ones((8, 4)), np.zeros((8, 3)), verbose=0)

    def test_a_subclass_that_cannot_be_saved_says_so_when_saved(self):
        trainer, _ = gan()
        with pytest.raises(NotImplementedError, match="override `get_config`"):
            trainer.get_config()

    def test_the_jax_backend_gets_an_import_error(self):
        assert keras_ext.Trainer is Trainer
        with pytest.raises(AttributeError, match="no attribute 'Trainr'"):
            _ = keras_ext.Trainr


def test_subclassed_model_inside_a_saved_trainer(tmp_path):
    trainer = Trainer(subclassed())
    trainer.compile("sgd", **CLASSIFY)
    trainer.fit(X, LABELS, verbose=0)
    trainer.save(tmp_path / "t.keras")
    loaded = keras.models.load_model(
        tmp_path / "t.keras", custom_objects={"Subclassed": Subclassed}
    )
    np.testing.assert_array_equal(loaded(X), trainer(X))

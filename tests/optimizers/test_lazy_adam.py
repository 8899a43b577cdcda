"""`LazyAdam`: rows as in NumPy, and Keras's Adam where gradients are dense."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_ext
from keras_ext.optimizers import LazyAdam
from tests.markers import needs_tensorflow
from tests.optimizers.paths import (
    GRADIENTS,
    SCHEDULE,
    START,
    TOLERANCE,
    assert_same,
    path,
    scheduled,
    slices,
)
from tests.reference import optimizers as reference

_rng = np.random.default_rng(1)
# Rows of START: some in several places of a step, some in none.
SPARSE = [(_rng.integers(0, 6, 5), _rng.normal(size=(5, 3))) for _ in range(20)]
# Keras's Adam rounds its betas to float32.
EXACT = {"beta_1": 0.875, "beta_2": 0.9921875}
X = _rng.integers(0, 30, size=(60, 2))
Y = np.sin(X.sum(1, keepdims=True)).astype("float32")


class TestDenseGradients:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3},
            {"learning_rate": SCHEDULE, "amsgrad": True},
            {"weight_decay": 0.1, "clipnorm": 1.0},
            {"gradient_accumulation_steps": 2, "weight_decay": 0.1},
            {"use_ema": True, "ema_overwrite_frequency": 3, "global_clipnorm": 1.0},
        ],
        ids=" ".join,
    )
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_equal_keras_s_adam_to_the_bit(self, options, dtype):
        if dtype == "float64" and TOLERANCE > 1e-6:
            dtype = "float32"
        got = path(LazyAdam(**options), dtype=dtype)
        expected = path(keras.optimizers.Adam(**options), dtype=dtype)
        np.testing.assert_array_equal(got, expected)

    def test_equal_the_reference(self):
        options = {"learning_rate": 0.0625, **EXACT}
        got = path(LazyAdam(**options))
        assert_same(got, reference.lazy_adam(START, GRADIENTS, **options))

    def test_bfloat16_variables_move(self):
        """1 - beta_2 is not lost, as it is in Keras's Adam."""
        got = path(LazyAdam(0.05), dtype="bfloat16")
        np.testing.assert_allclose(got, path(LazyAdam(0.05)), atol=0.1)


@needs_tensorflow
class TestSparseGradients:
    @pytest.mark.parametrize("kind", ["eager", "graph", "xla"])
    @pytest.mark.parametrize(
        "options",
        [
            {"learning_rate": 0.0625},
            {"learning_rate": 0.0625, "epsilon": 1e-3},
            {"learning_rate": SCHEDULE},
        ],
        ids=["default", "epsilon", "schedule"],
    )
    def test_equal_the_reference(self, options, kind):
        import tensorflow as tf

        optimizer = LazyAdam(**options, **EXACT)
        variable = keras.Variable(START, dtype="float64")
        optimizer.build([variable])

        @tf.autograph.experimental.do_not_convert
        def step(indices, values):
            gradient = tf.IndexedSlices(values, indices, START.shape)
            optimizer.apply([gradient], [variable])

        if kind != "eager":
            step = tf.function(step, jit_compile=kind == "xla")
        got = []
        for indices, values in SPARSE:
            step(tf.constant(indices), tf.constant(values))
            got.append(variable.numpy().copy())
        if options["learning_rate"] is SCHEDULE:
            options = {"learning_rate": scheduled}
        expected = reference.lazy_adam(START, SPARSE, **options, **EXACT)
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)

    def test_other_rows_and_their_moments_are_left_alone(self):
        optimizer = LazyAdam(0.1, weight_decay=0.1, amsgrad=True)
        variable = keras.Variable(START)
        optimizer.build([variable])
        parts = [variable, *optimizer.variables[2:]]
        assert len(parts) == 4
        optimizer.apply([slices([0, 1], np.ones((2, 3), "float32"))], [variable])
        before = [part.numpy().copy() for part in parts]
        optimizer.apply([slices([1, 4, 1], np.ones((3, 3), "float32"))], [variable])
        for part, old in zip(parts, before, strict=True):
            moved = (part.numpy() != old).any(1)
            assert np.flatnonzero(moved).tolist() == [1, 4]

    @pytest.mark.parametrize("amsgrad", [False, True])
    def test_of_all_rows_are_dense_ones(self, amsgrad):
        options = {"amsgrad": amsgrad, "weight_decay": 0.1, "beta_2": 0.8}
        rows = [slices(np.arange(6), one) for one in GRADIENTS.astype("float32")]
        got = path(LazyAdam(0.1, **options), rows, "float32")
        expected = path(keras.optimizers.Adam(0.1, **options), dtype="float32")
        np.testing.assert_array_equal(got, expected)

    def test_a_step_without_rows_changes_nothing(self):
        nothing = slices(np.zeros(0, "int64"), np.zeros((0, 3), "float32"))
        optimizer = LazyAdam(0.1)
        got = path(optimizer, [nothing, nothing], "float32")
        np.testing.assert_array_equal(got, np.stack([START.astype("float32")] * 2))
        assert int(optimizer.iterations) == 2

    @pytest.mark.parametrize("option", [{"clipnorm": 0.5}, {"clipvalue": 0.1}])
    def test_stay_sparse_when_clipped(self, option):
        optimizer = LazyAdam(0.1, **option)
        got = path(
            optimizer,
            [slices([3], [[3.0, 4.0, 0.05]]), slices([2], [[1.0, 0, 0]])],
            "float64",
        )
        np.testing.assert_array_equal(got[1][3], got[0][3])

    def test_stay_sparse_under_a_loss_scale(self):
        scaled = keras.optimizers.LossScaleOptimizer(LazyAdam(0.1), initial_scale=8.0)
        rows = [slices(i, 8 * v.astype("float32")) for i, v in SPARSE]
        got = path(scaled, rows, "float32")
        plain = [slices(i, v.astype("float32")) for i, v in SPARSE]
        np.testing.assert_array_equal(got, path(LazyAdam(0.1), plain, "float32"))

    def test_an_average_of_the_weights(self):
        rows = [slices(i, v) for i, v in SPARSE]
        weights = path(LazyAdam(0.1), rows, "float64")
        optimizer = LazyAdam(0.1, use_ema=True, ema_momentum=0.5)
        np.testing.assert_array_equal(path(optimizer, rows, "float64"), weights)
        (average,) = [one for one in optimizer.variables if "average" in one.path]
        expected = weights[0]
        for one in weights[1:]:
            expected = 0.5 * expected + 0.5 * one
        np.testing.assert_allclose(average.numpy(), expected, rtol=1e-6)

    def test_accumulated_ones_are_dense(self):
        rows = [slices(i, v) for i, v in SPARSE]
        dense = [np.stack([v[i == row].sum(0) for row in range(6)]) for i, v in SPARSE]
        got = path(LazyAdam(0.1, gradient_accumulation_steps=2), rows)
        expected = path(
            keras.optimizers.Adam(0.1, gradient_accumulation_steps=2), dense
        )
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def embedding_model():
    keras.utils.set_random_seed(7)
    return keras.Sequential(
        [
            keras.Input((2,), dtype="int32"),
            keras.layers.Embedding(50, 4),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )


@pytest.fixture(scope="module")
def weights():
    """Those of a loop written by hand, which calls no compiled function."""
    import tensorflow as tf

    model, optimizer = embedding_model(), LazyAdam(0.05)
    for _ in range(3):
        for first in range(0, 60, 7):
            x, y = X[first : first + 7], Y[first : first + 7]
            with tf.GradientTape() as tape:
                loss = ops.mean(ops.square(model(x) - y))
            gradients = tape.gradient(loss, model.trainable_weights)
            assert isinstance(gradients[0], tf.IndexedSlices)
            optimizer.apply(gradients, model.trainable_weights)
    return model.get_weights()


@needs_tensorflow
class TestAModel:
    @pytest.mark.parametrize("place", ["fit", "Trainer.fit"])
    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_fit_makes_the_steps_of_a_loop(self, weights, place, jit_compile):
        model = embedding_model()
        model = model if place == "fit" else keras_ext.Trainer(model)
        model.compile(LazyAdam(0.05), "mse", jit_compile=jit_compile)
        model.fit(X, Y, batch_size=7, epochs=3, shuffle=False, verbose=0)
        for got, expected in zip(model.get_weights(), weights, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)

    def test_a_keras_file_continues_the_training(self, weights, tmp_path):
        model = embedding_model()
        model.compile(LazyAdam(0.05), "mse", jit_compile=False)
        options = {"batch_size": 7, "shuffle": False, "verbose": 0}
        model.fit(X, Y, epochs=1, **options)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        loaded.fit(X, Y, epochs=2, **options)
        for got, expected in zip(loaded.get_weights(), weights, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)

    def test_a_continued_run_is_the_same_to_the_bit(self, tmp_path):
        def run(folder, epochs):
            keras.utils.clear_session()
            trainer = keras_ext.Trainer(embedding_model(), seed=1)
            trainer.compile(LazyAdam(0.05, amsgrad=True), "mse")
            save = keras_ext.callbacks.Checkpoint(folder, save_freq=2)
            options = {"callbacks": [save], "resume": True, "verbose": 0}
            trainer.fit(X, Y, batch_size=7, epochs=epochs, **options)
            return [*trainer.get_weights(), *map(np.array, trainer.optimizer.variables)]

        whole = run(tmp_path / "whole", 3)
        run(tmp_path / "parts", 1)
        for got, expected in zip(run(tmp_path / "parts", 3), whole, strict=True):
            np.testing.assert_array_equal(got, expected)


def test_weight_decay_can_leave_variables_out():
    optimizer = LazyAdam(0.1, weight_decay=0.5)
    kernel, bias = keras.Variable([1.0], name="kernel"), keras.Variable([1.0])
    optimizer.exclude_from_weight_decay(var_list=[bias])
    optimizer.apply([ops.zeros(1), ops.zeros(1)], [kernel, bias])
    assert float(kernel.value[0]) == pytest.approx(0.95)
    assert float(bias.value[0]) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta_1": 1.0}, r"`beta_1` must be a finite number in \[0, 1\)"),
        ({"beta_2": 1.0}, r"`beta_2` must be a finite number in \[0, 1\)"),
        ({"epsilon": 0.0}, r"`epsilon` must be a finite number in \(0, inf\)"),
        ({"learning_rate": -0.1}, r"`learning_rate` must be a finite number in \[0, "),
        ({"weight_decay": -1.0}, r"`weight_decay` must be a finite number in \[0, inf"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        LazyAdam(**options)

"""`RectifiedAdam` against the paper's algorithm in NumPy."""

from decimal import Decimal, localcontext

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.optimizers import RectifiedAdam
from keras_ext.optimizers.rectified_adam import rectification
from tests.markers import needs_tensorflow
from tests.reference import optimizers as reference

START = np.array([1.0, -2.0, 0.5, 3.0])
SCALES = np.array([3.0, 0.1, 10.0, 1e-3])


def slope(weights, step):
    """The gradient of a quadratic function, with noise."""
    return SCALES * weights + np.sin(step + np.arange(4))


def path(optimizer, steps, dtype="float32", variables=2):
    """Return the weights before the first step and after each."""
    parts = [keras.Variable(part, dtype=dtype) for part in np.split(START, variables)]
    weights = [START]
    for step in range(steps):
        gradients = np.split(slope(weights[-1], step), variables)
        optimizer.apply([ops.cast(g, dtype) for g in gradients], parts)
        values = [ops.convert_to_numpy(ops.cast(part, "float32")) for part in parts]
        weights.append(np.concatenate(values).astype("float64"))
    return np.stack(weights)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"learning_rate": 0.1},
        {"learning_rate": 0.05, "beta_1": 0.0},
        {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3},
        {"learning_rate": 0.05, "beta_2": 0.99999},
        {"learning_rate": 0.05, "beta_2": 0.7},
        # rho never reaches 4: gradient descent with momentum.
        {"learning_rate": 0.01, "beta_2": 0.6},
        {"learning_rate": 0.05, "weight_decay": 0.1},
    ],
    ids=str,
)
def test_is_the_algorithm_of_the_paper(options):
    got = path(RectifiedAdam(**options), 40)
    expected = reference.rectified_adam(START, slope, 40, **options)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_follows_a_schedule():
    decay = keras.optimizers.schedules.InverseTimeDecay(0.1, 3, 0.5)
    expected = reference.rectified_adam(
        START, slope, 20, learning_rate=lambda step: 0.1 / (1 + 0.5 * step / 3)
    )
    got = path(RectifiedAdam(decay), 20)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("beta_2", [0.61, 0.7, 0.9, 0.99, 0.999, 0.9999, 0.999999])
def test_rho_and_r_are_exact_at_every_step(beta_2):
    steps = [*range(1, 12), 50, 499, 500, 501, 5000, 10**5, 10**6, 10**8, 2**31 - 1]
    with localcontext() as context:
        context.prec = 60
        b = Decimal(beta_2)
        rho_inf = 2 / (1 - b) - 1
        for step in steps:
            rho = rho_inf - 2 * step * b**step / (1 - b**step)
            got, factor = rectification(ops.cast(step, "float32"), beta_2)
            assert float(got) == pytest.approx(float(rho), rel=1e-6)
            assert (got > 4) == (rho > 4)
            numerator = (rho - 4) * (rho - 2) * rho_inf
            squared = numerator / ((rho_inf - 4) * (rho_inf - 2) * rho)
            expected = float(max(squared, 0).sqrt()) if rho > 4 else 0.0
            assert float(factor) == pytest.approx(expected, rel=1e-5)


def test_a_late_step_is_one_of_adam():
    """Where float32 can't count the steps any more."""
    ours, keras_s = RectifiedAdam(0.1), keras.optimizers.Adam(0.1)
    variables = [keras.Variable([1.0]), keras.Variable([1.0])]
    for optimizer, variable in zip((ours, keras_s), variables, strict=True):
        optimizer.build([variable])
        optimizer.iterations.assign(2**30)
        optimizer.apply([ops.ones(1)], [variable])
    got, expected = map(ops.convert_to_numpy, variables)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_variables(dtype):
    got = path(RectifiedAdam(0.05, epsilon=1e-3), 20, dtype)
    expected = path(RectifiedAdam(0.05, epsilon=1e-3), 20)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, expected, atol=0.15)


@needs_tensorflow
def test_double_precision():
    got = path(RectifiedAdam(0.1), 30, "float64")
    expected = reference.rectified_adam(START, slope, 30, learning_rate=0.1)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_zero_gradients_move_nothing():
    optimizer = RectifiedAdam(0.1)
    variable = keras.Variable(np.ones(3))
    for _ in range(8):
        optimizer.apply([ops.zeros(3)], [variable])
    np.testing.assert_array_equal(ops.convert_to_numpy(variable), np.ones(3))


class TestOptionsOfKeras:
    """What Keras's base class does with the gradients is done once."""

    def test_clipping_is_that_of_the_gradients(self):
        def clipped(weights, step):
            both = np.split(slope(weights, step), 2)
            norms = [np.linalg.norm(part) for part in both]
            pairs = zip(both, norms, strict=True)
            return np.concatenate([p / max(1.0, n / 0.5) for p, n in pairs])

        got = path(RectifiedAdam(0.1, clipnorm=0.5), 20)
        expected = reference.rectified_adam(START, clipped, 20, learning_rate=0.1)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)

    def test_accumulated_gradients_are_one_step(self):
        accumulating = RectifiedAdam(0.1, gradient_accumulation_steps=2)
        plain = RectifiedAdam(0.1)
        variables = [
            keras.Variable(START, dtype="float32"),
            keras.Variable(START, dtype="float32"),
        ]
        rng = np.random.default_rng(0)
        for _ in range(8):
            both = rng.normal(size=(2, 4)).astype("float32")
            for one in both:
                accumulating.apply([ops.convert_to_tensor(one)], [variables[0]])
            plain.apply([ops.convert_to_tensor(both.mean(0))], [variables[1]])
        got, expected = map(ops.convert_to_numpy, variables)
        np.testing.assert_allclose(got, expected, rtol=1e-5)

    def test_the_average_of_the_weights(self):
        optimizer = RectifiedAdam(0.1, use_ema=True, ema_momentum=0.8)
        variable = keras.Variable(START, dtype="float32")
        average = None
        for step in range(10):
            optimizer.apply([ops.cast(slope(START, step), "float32")], [variable])
            now = ops.convert_to_numpy(variable)
            average = now if average is None else 0.8 * average + 0.2 * now
        optimizer.finalize_variable_values([variable])
        got = ops.convert_to_numpy(variable)
        np.testing.assert_allclose(got, average, rtol=1e-5)

    def test_weight_decay_can_leave_variables_out(self):
        optimizer = RectifiedAdam(0.1, weight_decay=0.5)
        kernel, bias = keras.Variable([1.0], name="kernel"), keras.Variable([1.0])
        optimizer.exclude_from_weight_decay(var_list=[bias])
        optimizer.apply([ops.zeros(1), ops.zeros(1)], [kernel, bias])
        assert float(kernel.value[0]) == pytest.approx(0.95)
        assert float(bias.value[0]) == 1

    def test_variables_without_a_gradient_are_left_alone(self):
        optimizer = RectifiedAdam(0.1)
        variables = [keras.Variable([1.0]), keras.Variable([1.0])]
        with pytest.warns(UserWarning, match="Gradients do not exist"):
            optimizer.apply([None, ops.ones(1)], variables)
        assert float(variables[0].value[0]) == 1
        assert float(variables[1].value[0]) == pytest.approx(0.9)


@needs_tensorflow
def test_gradients_of_an_embedding():
    """They are `tf.IndexedSlices`, of the rows that were looked up."""
    import tensorflow as tf

    optimizer = RectifiedAdam(0.1)
    table = keras.Variable(np.ones((4, 2), "float32"))
    dense = keras.Variable(np.ones((4, 2), "float32"))
    for _ in range(7):
        with tf.GradientTape() as tape:
            rows = tf.gather(table.value, [1, 3])
            loss = tf.reduce_sum(rows**2)
        (gradient,) = tape.gradient(loss, [table.value])
        assert isinstance(gradient, tf.IndexedSlices)
        optimizer.apply([gradient, tf.convert_to_tensor(gradient)], [table, dense])
    np.testing.assert_allclose(table.numpy(), dense.numpy(), rtol=1e-6)
    np.testing.assert_array_equal(table.numpy()[[0, 2]], np.ones((2, 2)))


@needs_tensorflow
def test_variables_of_tensorflow():
    import tensorflow as tf

    optimizer = RectifiedAdam(0.1)
    variables = [tf.Variable([1.0]), keras.Variable([1.0])]
    for _ in range(6):
        optimizer.apply([tf.ones(1), tf.ones(1)], variables)
    np.testing.assert_array_equal(variables[0].numpy(), variables[1].numpy())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta_1": 1.0}, r"`beta_1` must be a finite number in \[0, 1\)"),
        ({"beta_2": 0.0}, r"`beta_2` must be a finite number in \(0, 1\)"),
        ({"beta_2": 1.0}, r"`beta_2` must be a finite number in \(0, 1\)"),
        ({"epsilon": 0.0}, r"`epsilon` must be a finite number in \(0, inf\)"),
        ({"learning_rate": -0.1}, r"`learning_rate` must be a finite number in \[0, "),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"weight_decay": -1.0}, r"`weight_decay` must be a finite number in \[0, inf"),
        ({"decay_of_weights": 0.1}, "decay_of_weights"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        RectifiedAdam(**options)

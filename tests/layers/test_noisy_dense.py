import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.layers import NoisyDense
from tests.layers.weights import arrays, assert_close, images, randomize
from tests.markers import needs_tensorflow
from tests.reference import units as reference

INPUTS, UNITS, DRAWS = 4, 3, 3000
KINDS = pytest.mark.parametrize("factorized", [True, False])


def numpy(x):
    return ops.convert_to_numpy(x)


def layer(**options):
    """Return a layer with random weights, as (layer, mu_w, sigma_w, mu_b, sigma_b)."""
    layer = NoisyDense(UNITS, **{"seed": 5, **options})
    layer.build((None, INPUTS))
    randomize(layer)
    return layer, *arrays(layer)


def noise(layer, mu_kernel, sigma_kernel, mu_bias, sigma_bias, x=None):
    """Return the noise of one call: of the kernel, of the bias, and the output of x.

    The output of a row of zeros tells the bias, that of a row of the identity the
    kernel.
    """
    x = np.zeros((0, INPUTS)) if x is None else x
    probe = np.concatenate([np.zeros((1, INPUTS)), np.eye(INPUTS), x])
    y = numpy(layer(probe, training=True)).astype("float64")
    bias, kernel = y[0], y[1 : 1 + INPUTS] - y[0]
    noise_kernel = (kernel - mu_kernel) / sigma_kernel
    return noise_kernel, (bias - mu_bias) / sigma_bias, y[1 + INPUTS :]


@pytest.fixture(scope="module", params=[True, False], ids=["factorized", "independent"])
def draws(request):
    """The outputs of many calls for the same inputs, and what they were made with."""
    made = layer(factorized=request.param)
    x = images(2, INPUTS)
    train = functools.partial(made[0], training=True)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        train = tf.function(train)
    y = [numpy(train(x)) for _ in range(DRAWS)]
    return request.param, made, x, np.stack(y)


class TestNoise:
    @KINDS
    def test_all_samples_of_a_call_have_the_same(self, factorized):
        made, x = layer(factorized=factorized), images(6, INPUTS)
        noise_kernel, noise_bias, y = noise(*made, x)
        expected = reference.noisy_dense(x, *made[1:], noise_kernel, noise_bias)
        assert_close(y, expected)

    def test_factorized_is_made_of_one_number_per_input_and_per_unit(self):
        noise_kernel, noise_bias, _ = noise(*layer())
        of_inputs = noise_kernel[:, 0] / noise_bias[0]
        # The inverse of sign(x) sqrt|x| is x|x|.
        expected = reference.factorized_noise(
            of_inputs * abs(of_inputs), noise_bias * abs(noise_bias)
        )
        assert_close(noise_kernel, expected[0], 1e-4)
        assert_close(noise_bias, expected[1], 1e-4)

    def test_independent_has_another_number_for_every_weight(self):
        noise_kernel, _, _ = noise(*layer(factorized=False))
        assert np.linalg.matrix_rank(noise_kernel, tol=0.1) == min(INPUTS, UNITS)

    def test_mean_and_variance_are_those_of_the_paper(self, draws):
        factorized, made, x, y = draws
        mean = reference.noisy_dense(
            x, *made[1:], np.zeros((INPUTS, UNITS)), np.zeros(UNITS)
        )
        _, _, sigma_kernel, _, sigma_bias = made
        variance = reference.noisy_dense_moments(
            x, sigma_kernel, sigma_bias, factorized
        )
        # Five standard deviations of the estimates.
        assert np.all(abs(y.mean(axis=0) - mean) < 5 * np.sqrt(variance / DRAWS))
        fourth = ((y - mean) ** 4).mean(axis=0)
        deviation = np.sqrt((fourth - variance**2) / DRAWS)
        assert np.all(abs(y.var(axis=0) - variance) < 5 * deviation)

    def test_every_call_draws_anew(self, draws):
        _, _, _, y = draws
        assert len(np.unique(y[:, 0, 0])) > 0.99 * DRAWS
        # Five standard deviations of the correlation of independent draws.
        one, next_one = y[:-1, 0, 0], y[1:, 0, 0]
        assert abs(np.corrcoef(one, next_one)[0, 1]) < 5 / np.sqrt(DRAWS)

    @KINDS
    def test_a_seed_fixes_the_draws(self, factorized):
        x = images(2, INPUTS)
        first, again, other = (
            [numpy(made(x, training=True)) for _ in range(2)]
            for made in (
                layer(factorized=factorized)[0],
                layer(factorized=factorized)[0],
                layer(factorized=factorized, seed=6)[0],
            )
        )
        np.testing.assert_array_equal(first, again)
        assert not np.any(np.equal(first, other))
        assert not np.any(np.equal(*first))


@KINDS
@pytest.mark.parametrize("use_bias", [True, False])
def test_without_training_it_is_dense(factorized, use_bias):
    options = {"activation": "tanh", "use_bias": use_bias}
    made = NoisyDense(UNITS, factorized=factorized, **options)
    x = images(2, 5, INPUTS)
    made(x)
    randomize(made)
    dense = keras.layers.Dense(UNITS, **options)
    dense.build(x.shape)
    dense.set_weights(made.get_weights()[::2])
    np.testing.assert_array_equal(numpy(made(x)), numpy(dense(x)))
    np.testing.assert_array_equal(numpy(made(x, training=False)), numpy(dense(x)))


@KINDS
@pytest.mark.parametrize("sigma", [None, 0.3])
def test_weights_start_as_in_the_paper(factorized, sigma):
    made = NoisyDense(400, sigma=sigma, factorized=factorized)
    made.build((None, 25))
    limit = 1 / 5 if factorized else np.sqrt(3 / 25)
    start = {(True, None): 0.1, (True, 0.3): 0.06, (False, None): 0.017}
    kernel, sigma_kernel, bias, sigma_bias = arrays(made)
    for mean, deviation in ((kernel, sigma_kernel), (bias, sigma_bias)):
        np.testing.assert_allclose(deviation, start.get((factorized, sigma), 0.3))
        assert np.abs(mean).max() <= limit
        # A uniform distribution has the variance limit^2 / 3, with a deviation of
        # sqrt(4 / 45 / count) limit^2 of its estimate.
        tolerance = 5 * np.sqrt(4 / 45 / mean.size) * limit**2
        assert abs((mean**2).mean() - limit**2 / 3) < tolerance


def test_sigma_0_starts_as_a_dense_layer():
    made = NoisyDense(UNITS, sigma=0.0)
    x = images(2, INPUTS)
    np.testing.assert_array_equal(numpy(made(x, training=True)), numpy(made(x)))


@KINDS
def test_learns_where_to_be_certain(factorized):
    """The noise dies away where a regression has an exact solution."""
    x = images(256, INPUTS)
    target = x @ images(INPUTS, 1, seed=3) + 1
    model = keras.Sequential(
        [keras.Input((INPUTS,)), NoisyDense(1, sigma=1.0, factorized=factorized)]
    )
    before = np.abs(model.get_weights()[1]).mean()
    model.compile(keras.optimizers.Adam(0.05), loss="mse")
    model.fit(x, target, batch_size=32, epochs=25, verbose=0)
    assert np.abs(model.get_weights()[1]).mean() < before / 3
    np.testing.assert_allclose(model.predict(x, verbose=0), target, atol=0.2)


@needs_tensorflow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_with_an_unknown_batch_size_it_draws_anew(jit_compile):
    import tensorflow as tf

    made, *_ = layer()
    train = tf.function(
        lambda x: made(x, training=True),
        input_signature=[tf.TensorSpec((None, INPUTS))],
        jit_compile=jit_compile,
    )
    x = images(5, INPUTS)
    first, second = train(x).numpy(), train(x).numpy()
    assert not np.any(first == second)
    assert train(x[:2]).shape == (2, UNITS)


@pytest.mark.parametrize("policy", ["float16", "mixed_float16", "mixed_bfloat16"])
def test_half_precision_rounds_noise_that_is_drawn_in_float32(policy):
    half, full = (
        NoisyDense(UNITS, sigma=1.0, factorized=False, seed=5, dtype=dtype)
        for dtype in (policy, "float32")
    )
    zeros = np.zeros((1, INPUTS), "float32")
    # The output of zeros is the bias, which less its mean is the noise.
    for made in (half, full):
        made.build(zeros.shape)
        made.bias.assign(np.zeros(UNITS))
    expected = ops.cast(full(zeros, training=True), half.compute_dtype)
    actual = half(zeros, training=True)
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(
        *(numpy(ops.cast(x, "float32")) for x in (actual, expected))
    )


def test_masks_pass_through():
    x = keras.layers.Masking()(np.array([[[1.0, 2.0], [0.0, 0.0]]], "float32"))
    mask = numpy(NoisyDense(1)(x)._keras_mask)
    np.testing.assert_array_equal(mask, [[True, False]])


def test_empty_batch():
    x = np.ones((0, INPUTS), "float32")
    assert NoisyDense(UNITS)(x, training=True).shape == (0, UNITS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": 0}, "`units` must be a positive integer. Received: units=0"),
        ({"sigma": -1}, r"`sigma` must be a finite number in \[0, inf\).*sigma=-1"),
        ({"sigma": float("nan")}, "`sigma` must be .*sigma=nan"),
        ({"factorized": "no"}, "`factorized` must be one of True, False.*='no'"),
        ({"use_bias": None}, "`use_bias` must be one of True, False.*=None"),
        ({"seed": 1.5}, r"`seed` must be an integer.*seed=1.5"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        NoisyDense(**{"units": 3, **options})


def test_a_layer_is_no_activation():
    with pytest.raises(TypeError, match="`activation` must be the name of"):
        NoisyDense(3, activation=keras.layers.PReLU())


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4,), r"noisy expects an input of rank 2 or more.*shape=\(4,\)"),
        ((4, None), r"noisy needs the size of the channel axis \(axis -1\)"),
    ],
)
def test_bad_input_shapes(shape, message):
    with pytest.raises(ValueError, match=message):
        NoisyDense(3, name="noisy").build(shape)

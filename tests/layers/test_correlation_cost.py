"""`CorrelationCost` against the paper's formula, and TensorFlow Addons."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.layers import CorrelationCost
from tests.backends import compiled, gradients
from tests.layers.weights import assert_close, images
from tests.reference.cost_volume import correlation_cost as reference

ARGUMENTS = [
    (1, 0),
    (1, 3, 1, 1, 3),
    (1, 3, 1, 2, 3),
    (1, 4, 1, 2, 1),
    (1, 2, 2, 1, 2),
    (3, 2, 1, 1, 3),
    (3, 1),
    (3, 3, 2, 2, 4),
    (3, 2, 3, 1, 4),
    (5, 1, 1, 3, 6),
]


def pair(*shape):
    return [images(*shape, seed=seed) for seed in (1, 2)]


@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_equals_the_formula(arguments, data_format):
    inputs = pair(2, 8, 7, 5)
    expected = reference(*inputs, *arguments)
    if data_format == "channels_first":
        inputs = [np.moveaxis(one, -1, 1) for one in inputs]
        expected = np.moveaxis(expected, -1, 1)
    layer = CorrelationCost(*arguments, data_format=data_format)
    assert_close(layer(inputs), expected)
    shape = layer.compute_output_shape([one.shape for one in inputs])
    assert shape == expected.shape


@pytest.mark.parametrize("arguments", [(1, 2, 1, 1, 2), (3, 2, 2, 2, 3)])
def test_gradient_equals_the_slope_of_the_reference(arguments):
    inputs = [one.astype("float64") for one in pair(1, 4, 5, 2)]
    layer = CorrelationCost(*arguments)
    got = gradients(
        lambda a, b: ops.sin(3 * layer([a, b])),
        *(one.astype("float32") for one in inputs),
    )

    def total():
        return np.sin(3 * reference(*inputs, *arguments)).sum()

    for slope, values in zip(got, inputs, strict=True):
        expected = np.zeros(values.shape)
        for place in np.ndindex(*values.shape):
            before = values[place]
            sides = []
            for values[place] in (before + 1e-4, before - 1e-4):
                sides.append(total())
            values[place] = before
            expected[place] = (sides[0] - sides[1]) / 2e-4
        assert_close(slope, expected, 1e-4)


def test_equals_tensorflow_addons():
    # Computed with tfa.layers.CorrelationCost(1, 1, 1, 1, 1, "channels_last") of
    # TensorFlow Addons 0.23.0, TensorFlow 2.15.1: the two columns of each of the rows.
    first = np.sin(np.arange(12)).reshape(1, 3, 2, 2).astype("float32")
    second = np.cos(np.arange(12)).reshape(1, 3, 2, 2).astype("float32")
    costs = ops.convert_to_numpy(CorrelationCost(1, 1, 1, 1, 1)([first, second]))[0]
    expected = [
        [0, 0, 0, 0, 0.2273243, -0.4165250, 0, 0.1193468, 0.3171934],
        [0, 0, 0, 0.4927724, -0.2590545, 0, -0.2771630, 0.4897355, 0],
        [0, -0.6374557, 0.6321344, 0, 0.1113343, -0.7247972, 0, 0.4919098, 0.3153838],
        [0.0377779, -0.2670670, 0, 0.1845002, 0.1135086, 0, -0.2789727, 0.1186786, 0],
        [0, -0.2648926, 0.6303247, 0, -0.2597226, -0.4141592, 0, 0, 0],
        [0.0359683, -0.6381238, 0, 0.4951382, 0.2260235, 0, 0, 0, 0],
    ]
    assert_close(costs, np.reshape(expected, (3, 2, 9)), 1e-6)


def test_finds_where_a_patch_has_moved_to():
    first = images(1, 12, 12, 16)
    second = np.roll(first, (2, -1), axis=(1, 2))
    costs = ops.convert_to_numpy(CorrelationCost(3, 3)([first, second]))
    best = np.unravel_index(costs.argmax(axis=-1), (7, 7))
    # Away from the edges, over which `roll` moves.
    assert np.all(best[0] == 3 + 2)
    assert np.all(best[1] == 3 - 1)


def test_sizes_that_are_known_only_at_run_time():
    layer = CorrelationCost(3, 2, 2, 2, 3)
    model = keras.Sequential([keras.layers.Conv2D(2, 1)])
    inputs = [keras.Input((None, None, 5)) for _ in range(2)]
    network = keras.Model(inputs, model(layer(inputs)))
    assert network.output_shape == (None, None, None, 2)
    run = compiled(lambda a, b: network([a, b]))
    for size in ((8, 7), (5, 9)):
        arrays = pair(2, *size, 5)
        kernel, bias = model.get_weights()
        expected = reference(*arrays, 3, 2, 2, 2, 3) @ kernel[0, 0] + bias
        assert_close(run(*map(ops.convert_to_tensor, arrays)), expected)


def test_sums_of_half_precision_are_made_in_float32():
    inputs = [100 * one for one in pair(1, 3, 3, 64)]
    inputs = [one.astype("float16").astype("float32") for one in inputs]
    half = CorrelationCost(1, 1, pad=1, dtype="float16")(inputs)
    assert keras.backend.standardize_dtype(half.dtype) == "float16"
    expected = reference(*inputs, 1, 1, 1, 1, 1)
    np.testing.assert_allclose(ops.convert_to_numpy(half), expected, rtol=1e-3, atol=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, 1), "`kernel_size` must be a positive odd integer.*kernel_size=2"),
        ((1, -1), "`max_displacement` must be a non-negative integer.*=-1"),
        ((1, 1, 0), "`stride_1` must be a positive integer.*stride_1=0"),
        ((1, 1, 1, 1.5), "`stride_2` must be a positive integer.*stride_2=1.5"),
        ((1, 1, 1, 1, -2), "`pad` must be a non-negative integer.*pad=-2"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        CorrelationCost(*arguments)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 5, 5, 3)], r"expects a list of two tensors.*\[\(2, 5, 5, 3\)\]"),
        ([(2, 5, 5, 3), (2, 5, 6, 3)], "expects a list of two tensors of the same"),
        ([(2, 5, 3), (2, 5, 3)], r"input of rank 4, shaped \(batch, height, width"),
        ([(2, 5, 5, None)] * 2, r"needs the size of the channel axis \(axis -1\)"),
        ([(2, 4, 5, 3)] * 2, r"more than 4 along axis 1.*Use a larger `pad`"),
    ],
)
def test_bad_shapes(shapes, message):
    with pytest.raises(ValueError, match=message):
        CorrelationCost(3, 1, name="costs").build(shapes)


def test_one_tensor_is_not_a_pair():
    with pytest.raises(ValueError, match="expects a list of two tensors"):
        CorrelationCost(1, 1)(images(2, 5, 5, 3))

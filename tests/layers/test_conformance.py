"""What holds for every layer, checked for every row of `rows.py`."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.backends import channels_first
from tests.layers.rows import LAYERS
from tests.layers.weights import randomize
from tests.markers import needs_tensorflow, rows_of

POLICIES = ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16"]

every_layer = pytest.mark.parametrize("row", rows_of(LAYERS))
every_layer_of_images = pytest.mark.parametrize(
    "row", rows_of([row for row in LAYERS if hasattr(row.make(), "data_format")])
)


def _numpy(x):
    return ops.convert_to_numpy(x)


def _all_numpy(outputs):
    return [_numpy(output) for output in outputs]


def _assert_equal(actual, expected, **tolerance):
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, **{"rtol": 0, "atol": 0, **tolerance})


def _config(layer):
    return keras.saving.serialize_keras_object(layer)


def _dynamic(row, shape):
    return tuple(
        None if axis in row.dynamic_axes else size for axis, size in enumerate(shape)
    )


def _model(row, layer=None):
    inputs = [
        keras.Input(batch_shape=_dynamic(row, array.shape), dtype=array.dtype)
        for array in row.arrays
    ]
    return keras.Model(inputs, row.call(layer or row.make(), inputs))


def _predict(model, row):
    outputs = model.predict(list(row.arrays), verbose=0)
    return outputs if isinstance(outputs, list) else [outputs]


def _shapes(row):
    return row.arguments([array.shape for array in row.arrays])


@every_layer
def test_config_round_trip(row):
    layer = row.make()
    copy = type(layer).from_config(layer.get_config())
    assert type(copy) is type(layer)
    assert _config(copy) == _config(layer)


@every_layer
def test_config_is_not_changed_by_build(row):
    layer = row.make()
    before = layer.get_config()
    row.call(layer)
    assert layer.get_config() == before


@every_layer
def test_is_registered_under_keras_ext(row):
    kind = type(row.make())
    name = f"keras_ext>{kind.__name__}"
    assert keras.saving.get_registered_name(kind) == name
    assert keras.saving.get_registered_object(name) is kind


@every_layer
def test_symbolic_equals_eager(row):
    layer = row.make()
    eager = row.call(layer)
    symbolic = row.call(
        layer, [keras.KerasTensor(array.shape, array.dtype) for array in row.arrays]
    )
    shapes = _flat(layer.compute_output_shape(*_shapes(row)))
    for one, other, shape in zip(eager, symbolic, shapes, strict=True):
        assert tuple(one.shape) == tuple(other.shape) == tuple(shape)
        assert keras.backend.standardize_dtype(one.dtype) == other.dtype


def _flat(shapes):
    """Return nested shapes as a list."""
    if all(size is None or isinstance(size, int) for size in shapes):
        return [shapes]
    return [shape for part in shapes for shape in _flat(part)]


@every_layer
def test_dynamic_shapes(row):
    model = _model(row)
    for size in (len(row.arrays[0]), 1):
        outputs = model([array[:size] for array in row.arrays])
        outputs = outputs if isinstance(outputs, list) else [outputs]
        for output, symbolic in zip(outputs, model.outputs, strict=True):
            assert len(_numpy(output)) == size
            for actual, static in zip(output.shape, symbolic.shape, strict=True):
                assert static in (None, actual)


@every_layer
def test_keras_file_round_trip(row, tmp_path):
    model = _model(row)
    randomize(model)
    expected = _predict(model, row)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    _assert_equal(_predict(loaded, row), expected)


@every_layer
@needs_tensorflow
def test_exported_model_gives_the_same_numbers(row, tmp_path):
    import tensorflow as tf

    model = _model(row)
    randomize(model)
    expected = _all_numpy(row.call(model.layers[-1], training=False))
    model.export(tmp_path / "exported", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "exported")
    outputs = loaded.serve([tf.constant(array) for array in row.arrays])
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    _assert_equal(_all_numpy(outputs), expected, rtol=1e-6, atol=1e-6)


@every_layer
@pytest.mark.parametrize("policy", POLICIES)
def test_half_precision(row, policy):
    full = row.make()
    expected = row.call(full)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        half = row.make()
    finally:
        keras.config.set_dtype_policy(before)
    outputs = row.call(half)
    policy = keras.DTypePolicy(policy)
    variables = half.trainable_variables
    assert {variable.dtype for variable in variables} <= {policy.variable_dtype}
    half.set_weights(full.get_weights())
    outputs = row.call(half)
    for output, other in zip(outputs, expected, strict=True):
        dtype = keras.backend.standardize_dtype(other.dtype)
        if "float" in dtype:
            dtype = policy.compute_dtype
        assert keras.backend.standardize_dtype(output.dtype) == dtype
        np.testing.assert_allclose(
            _numpy(ops.cast(output, "float32")), _numpy(other), atol=0.1, rtol=0.1
        )


@every_layer_of_images
def test_channels_first_is_channels_last_transposed(row):
    # With as many filters as the image is wide, Keras 3.15 on TensorFlow adds the bias
    # of a convolution along the wrong axis: no row has that.
    last = row.make()
    expected = row.call(last)
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        first = row.make()
    finally:
        keras.config.set_image_data_format(before)
    assert first.data_format == "channels_first"
    arrays = [
        np.moveaxis(array, -1, 1) if array.ndim == 4 else array for array in row.arrays
    ]
    row.call(first, [keras.KerasTensor(one.shape, one.dtype) for one in arrays])
    randomize(last)
    first.set_weights(last.get_weights())
    call = channels_first(lambda *arrays: row.call(first, arrays))
    outputs, expected = call(*arrays), row.call(last)
    for output, other in zip(outputs, expected, strict=True):
        if len(output.shape) == 4:
            output = ops.moveaxis(output, 1, -1)
        np.testing.assert_allclose(_numpy(output), _numpy(other), rtol=1e-5, atol=1e-5)


@every_layer
def test_inference_is_deterministic(row):
    layer = row.make()
    first = _all_numpy(row.call(layer, training=False))
    _assert_equal(_all_numpy(row.call(layer, training=False)), first)


@every_layer
@needs_tensorflow
def test_xla_equals_eager(row):
    import tensorflow as tf

    layer = row.make()
    eager = _all_numpy(row.call(layer, training=False))
    compiled = tf.function(
        lambda *arrays: row.call(layer, arrays, training=False), jit_compile=True
    )
    outputs = _all_numpy(compiled(*row.arrays))
    _assert_equal(outputs, eager, rtol=1e-4, atol=1e-5)


@every_layer
def test_one_compiled_fit_step_moves_every_weight(row):
    inputs = [keras.Input(a.shape[1:], dtype=a.dtype) for a in row.arrays]
    # The weights in front move only if the layer hands the gradient on.
    fronts = [
        keras.layers.Dense(x.shape[-1], kernel_initializer="identity")(x)
        if "float" in x.dtype and len(x.shape) > 1
        else x
        for x in inputs
    ]
    outputs = row.call(row.make(), fronts)
    outputs = [output for output in outputs if "float" in output.dtype]
    if not outputs:
        pytest.skip("what it returns has no gradient")
    model = keras.Model(inputs, outputs)
    before = [_numpy(v) for v in model.trainable_variables]
    model.compile(keras.optimizers.SGD(1.0), loss=["mse"] * len(outputs))
    size = len(row.arrays[0])
    targets = [np.ones((size, *output.shape[1:]), "float32") for output in outputs]
    history = model.fit(list(row.arrays), targets, verbose=0, batch_size=size)
    assert np.isfinite(history.history["loss"]).all()
    for variable, old in zip(model.trainable_variables, before, strict=True):
        assert not np.array_equal(_numpy(variable), old), variable.path

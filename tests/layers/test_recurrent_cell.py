"""What the recurrent cells share: in layers and loops, masked, with dropout."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.layers import LayerNormLSTMCell, NASCell, PeepholeLSTMCell
from tests.layers import cells
from tests.layers.weights import randomize
from tests.reference import cells as reference

UNITS = 3
DROP = {"dropout": 0.4, "recurrent_dropout": 0.3, "seed": 5}
MAKE = {
    "LayerNormLSTMCell": lambda **options: LayerNormLSTMCell(UNITS, **options),
    "PeepholeLSTMCell": lambda **options: PeepholeLSTMCell(UNITS, **options),
    "NASCell": lambda **options: NASCell(UNITS, 2, True, **options),
}
STEP = {
    "LayerNormLSTMCell": (reference.layer_norm_lstm, {}),
    "PeepholeLSTMCell": (reference.peephole_lstm, {}),
    "NASCell": (reference.nas, {"use_bias": True, "projection": True}),
}
GATES = {"LayerNormLSTMCell": 4, "PeepholeLSTMCell": 4, "NASCell": 8}

every_cell = pytest.mark.parametrize("kind", MAKE)
unrolled_or_not = pytest.mark.parametrize("unroll", [False, True])


@every_cell
@unrolled_or_not
@pytest.mark.parametrize("go_backwards", [False, True])
def test_a_layer_is_a_loop_over_steps(kind, unroll, go_backwards):
    cell = cells.built(MAKE[kind]())
    x, states = cells.sequences(), cells.states_of(cell)
    actual = cells.run(cell, x, states, unroll=unroll, go_backwards=go_backwards)
    outputs = []
    for t in range(cells.STEPS)[:: -1 if go_backwards else 1]:
        output, states = cell(x[:, t], states)
        outputs.append(cells.numpy(output))
    wanted = [np.stack(outputs, axis=1), *map(cells.numpy, states)]
    cells.compare(actual, wanted)


@every_cell
@unrolled_or_not
def test_masked_steps_equal_the_reference(kind, unroll):
    cell = cells.built(MAKE[kind]())
    # Where the first steps are masked, Keras gives zeros on TensorFlow and the first
    # state on JAX: the same for states of zeros.
    x, states = cells.sequences(), cells.zeros_of(cell)
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 1, 0, 1], [0] * 5], bool)
    step, options = STEP[kind]
    wanted = cells.expected(step, cell, x, states, mask=mask, **options)
    cells.compare(cells.run(cell, x, states, mask=mask, unroll=unroll), wanted)


@every_cell
def test_dropout_equals_the_reference_with_its_masks(kind):
    cell = cells.built(MAKE[kind](**DROP))
    x, states = cells.sequences(), cells.states_of(cell)
    step, options = STEP[kind]
    masks = cells.drawn(cell, x[:, 0], states[0], GATES[kind])
    for mask, rate in zip(masks, (0.4, 0.3), strict=True):
        values = np.unique(mask)
        np.testing.assert_allclose(values, [0, 1 / (1 - rate)], rtol=1e-6)
    wanted = cells.expected(step, cell, x, states, masks=masks, **options)
    for t in range(cells.STEPS):
        output, states = cell(x[:, t], states, training=True)
        cells.compare([cells.numpy(output)], [wanted[0][:, t]])
    cells.compare(map(cells.numpy, states), wanted[1:])


@every_cell
@pytest.mark.parametrize("rate", ["dropout", "recurrent_dropout"])
def test_the_masks_of_a_sequence_equal_those_of_its_first_step(kind, rate):
    options = {rate: 0.5, "seed": 5}
    looped, stepped = (cells.built(MAKE[kind](**options)) for _ in range(2))
    x, states = cells.sequences(), cells.states_of(looped)
    actual = cells.run(looped, x, states, training=True)
    # What the layer does: in this order, also where one of them is not asked for.
    stepped.get_dropout_mask(x[:, 0])
    stepped.get_recurrent_dropout_mask(states[0])
    outputs = []
    for t in range(cells.STEPS):
        output, states = stepped(x[:, t], states, training=True)
        outputs.append(cells.numpy(output))
    cells.compare(actual, [np.stack(outputs, axis=1), *map(cells.numpy, states)])


@every_cell
@unrolled_or_not
def test_dropout_is_drawn_for_every_call_in_training_and_for_no_other(kind, unroll):
    cell = cells.built(MAKE[kind](**DROP))
    x, states = cells.sequences(), cells.states_of(cell)
    run = {"states": states, "unroll": unroll}
    first, second = (cells.run(cell, x, training=True, **run)[0] for _ in range(2))
    assert np.abs(first - second).max() > 1e-3
    still, again = (cells.run(cell, x, **run)[0] for _ in range(2))
    np.testing.assert_array_equal(still, again)
    np.testing.assert_array_equal(
        still, cells.run(_copy(cell, dropout=0.0, recurrent_dropout=0.0), x, **run)[0]
    )
    # The same seed gives the same draws; samples have their own.
    twin = _copy(cell)
    np.testing.assert_allclose(
        cells.run(twin, x, training=True, **run)[0], first, rtol=1e-5, atol=1e-6
    )
    alike = [np.repeat(state[:1], cells.BATCH, axis=0) for state in states]
    rows = cells.run(
        cell, np.repeat(x[:1], cells.BATCH, axis=0), alike, training=True, unroll=unroll
    )[0]
    assert len(np.unique(rows[:, -1, 0])) > 1


def _copy(cell, **changes):
    copy = type(cell).from_config({**cell.get_config(), **changes})
    copy.build((None, cells.FEATURES))
    copy.set_weights(cell.get_weights())
    return copy


@unrolled_or_not
def test_stacked_cells_with_dropout(unroll):
    stack = keras.layers.StackedRNNCells([make(**DROP) for make in MAKE.values()])
    layer = keras.layers.RNN(stack, return_state=True, unroll=unroll)
    output, *states = layer(cells.sequences(), training=True)
    assert output.shape == (cells.BATCH, 2)
    sizes = [[tuple(one.shape) for one in state] for state in states]
    assert sizes == [[(4, 3), (4, 3)], [(4, 3), (4, 3)], [(4, 2), (4, 3)]]


def test_trains_with_dropout_in_compiled_steps():
    model = keras.Sequential(
        [keras.Input((None, cells.FEATURES)), keras.layers.RNN(MAKE["NASCell"](**DROP))]
    )
    before = model.get_weights()
    model.compile("adam", loss="mse")
    x = cells.sequences()
    losses = model.fit(x, np.ones((4, 2)), 2, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    for new, old in zip(model.get_weights(), before, strict=True):
        assert not np.array_equal(new, old)


@every_cell
def test_both_directions_and_a_saved_file(kind, tmp_path):
    recurrent = keras.layers.RNN(
        MAKE[kind](
            kernel_regularizer="l2", recurrent_constraint="max_norm", dropout=0.2
        ),
        return_sequences=True,
    )
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(7, cells.FEATURES, mask_zero=True),
            keras.layers.Bidirectional(recurrent),
            keras.layers.GlobalAveragePooling1D(),
        ]
    )
    randomize(model)
    tokens = np.array([[1, 2, 3, 0, 0], [6, 5, 4, 3, 2]], "int32")
    wanted = cells.numpy(model(tokens))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(cells.numpy(loaded(tokens)), wanted)
    cell, copy = (one.layers[1].forward_layer.cell for one in (model, loaded))
    assert copy.get_config() == cell.get_config()
    assert len(loaded.losses) == len(model.losses) == 2  # one for each direction
    # Padding is masked on both ways.
    short = cells.numpy(model(tokens[:1, :3]))
    np.testing.assert_allclose(wanted[:1], short, rtol=1e-5, atol=1e-6)


@every_cell
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_with_dropout(kind, policy):
    cell = cells.built(MAKE[kind](**DROP, dtype=policy))
    assert {weight.dtype for weight in cell.weights} == {"float32"}
    layer = keras.layers.RNN(cell, return_state=True, dtype=policy)
    x = cells.sequences()
    full = _copy(cell, dtype="float32")
    for training in (False, True):
        outputs = layer(x, training=training)
        dtypes = {keras.backend.standardize_dtype(one.dtype) for one in outputs}
        assert dtypes == {keras.DTypePolicy(policy).compute_dtype}
        if not training:
            for one, other in zip(outputs[1:], cells.run(full, x)[1:], strict=True):
                half = cells.numpy(ops.cast(one, "float32"))
                np.testing.assert_allclose(half, other, atol=0.05)


@every_cell
def test_stateful_layers_go_on_where_they_ended(kind):
    cell = cells.built(MAKE[kind]())
    x = cells.sequences()
    whole = cells.run(cell, x)[0]
    layer = keras.layers.RNN(cell, return_sequences=True, stateful=True)
    parts = [cells.numpy(layer(part)) for part in (x[:, :2], x[:, 2:])]
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, rtol=1e-5, atol=1e-6)


@every_cell
def test_sizes_and_first_states(kind):
    cell = MAKE[kind]()
    states = cell.get_initial_state(batch_size=7)
    assert [tuple(one.shape) for one in states] == [(7, n) for n in cell.state_size]
    assert all(not np.any(cells.numpy(one)) for one in states)
    assert cell.output_size == cell.state_size[0]
    assert cell.compute_output_shape((None, 4)) == (
        (None, cell.output_size),
        [(None, n) for n in cell.state_size],
    )


@every_cell
def test_names_that_keras_has_keep_their_meaning(kind):
    cell = MAKE[kind](
        kernel_initializer=keras.initializers.Constant(1.0),
        recurrent_initializer=keras.initializers.Constant(2.0),
        bias_initializer=keras.initializers.Constant(3.0),
        kernel_regularizer=keras.regularizers.L1(0.5),
        recurrent_regularizer=keras.regularizers.L1(0.25),
        bias_regularizer=keras.regularizers.L1(0.125),
        **({} if kind == "NASCell" else {"unit_forget_bias": False}),
    )
    cell.build((None, cells.FEATURES))
    total = 0.0
    for name, value, rate in (
        ("kernel", 1.0, 0.5),
        ("recurrent_kernel", 2.0, 0.25),
        ("bias", 3.0, 0.125),
    ):
        weight = cells.numpy(getattr(cell, name))
        np.testing.assert_array_equal(weight, np.full(weight.shape, value))
        total += weight.size * value * rate
    assert float(sum(cell.losses)) == total


@every_cell
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, r"`dropout` must be a finite number in \[0, 1\).*=1.0"),
        ({"dropout": -0.1}, r"`dropout` must be a finite number in \[0, 1\).*=-0.1"),
        ({"recurrent_dropout": 2}, r"`recurrent_dropout` must be .*=2"),
        ({"seed": 1.5}, r"`seed` must be an integer.*seed=1.5"),
    ],
)
def test_bad_arguments(kind, options, message):
    with pytest.raises(ValueError, match=message):
        MAKE[kind](**options)


@pytest.mark.parametrize("kind", [LayerNormLSTMCell, PeepholeLSTMCell, NASCell])
@pytest.mark.parametrize("units", [0, 2.5, None])
def test_units_are_a_positive_integer(kind, units):
    with pytest.raises(ValueError, match=f"`units` must be a positive.*units={units}"):
        kind(units)


@pytest.mark.parametrize("kind", ["LayerNormLSTMCell", "PeepholeLSTMCell"])
def test_a_layer_is_no_activation(kind):
    for name in ("activation", "recurrent_activation"):
        with pytest.raises(TypeError, match=f"`{name}` must be the name of"):
            MAKE[kind](**{name: keras.layers.PReLU()})
        with pytest.raises(ValueError, match="`use_bias` must be one of True, False"):
            MAKE[kind](use_bias="no")


@every_cell
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 5, 3), r"step expects an input of rank 2, shaped \(batch, features\)"),
        ((4, None), r"step needs the size of the channel axis \(axis -1\)"),
    ],
)
def test_bad_input_shapes(kind, shape, message):
    with pytest.raises(ValueError, match=message):
        MAKE[kind](name="step").build(shape)

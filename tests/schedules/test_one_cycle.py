"""The one cycle against its closed formula, at every step."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.schedules import OneCycle
from tests.reference import schedules as reference

BACKEND = keras.backend.backend()
DTYPES = ["float16", "bfloat16", "float32"]
if BACKEND != "jax":  # has float64 only where it is enabled
    DTYPES.append("float64")
TOTAL = 200


def values(schedule, steps):
    return ops.convert_to_numpy(schedule(np.asarray(steps)))


@pytest.mark.parametrize("anneal", ["cosine", "linear"])
@pytest.mark.parametrize("warmup_fraction", [0, 0.07, 0.3, 1 / 3, 0.999])
@pytest.mark.parametrize(
    "ends", [{}, {"initial_learning_rate": 0.0, "final_learning_rate": 0.05}]
)
def test_equals_the_formula_at_every_step(anneal, warmup_fraction, ends):
    options = {"warmup_fraction": warmup_fraction, "anneal": anneal, **ends}
    steps = range(TOTAL + 50)
    expected = [reference.one_cycle(step, 0.1, TOTAL, **options) for step in steps]
    np.testing.assert_allclose(
        values(OneCycle(0.1, TOTAL, **options), steps), expected, rtol=1e-6
    )


@pytest.mark.parametrize("anneal", ["cosine", "linear"])
@pytest.mark.parametrize("warmup_fraction", [0.07, 0.25, 0.3, 0.9])
@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_corners_are_exact(anneal, warmup_fraction, mode):
    schedule = OneCycle(0.1, 1000, warmup_fraction=warmup_fraction, anneal=anneal)
    at = schedule
    if mode != "eager":
        tf = pytest.importorskip("tensorflow")
        if BACKEND != "tensorflow":
            pytest.skip("the compiler of TensorFlow")
        at = tf.function(schedule.__call__, jit_compile=mode == "xla", autograph=False)
    peak = round(1000 * warmup_fraction)
    corners = {0: 0.1 / 25, peak: 0.1, 1000: 0.1 / 25 / 1e4, 10**6: 0.1 / 25 / 1e4}
    for step, expected in corners.items():
        rate = at(ops.convert_to_tensor(step, "int"))
        assert float(rate) == np.float32(expected), step


def test_without_warmup_it_starts_at_the_maximum():
    assert float(OneCycle(0.1, 10, warmup_fraction=0)(0)) == np.float32(0.1)


def test_one_step():
    assert float(OneCycle(0.1, 1)(0)) == np.float32(0.1 / 25)
    assert float(OneCycle(0.1, 1)(1)) == np.float32(0.1 / 25 / 1e4)


def test_rises_and_falls():
    rates = values(OneCycle(1.0, TOTAL), range(TOTAL + 1))
    peak = int(0.3 * TOTAL)
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) < 0).all()


def test_large_steps_are_told_apart():
    total = 2**31 - 2
    schedule = OneCycle(1.0, total, anneal="linear", warmup_fraction=0)
    last = [float(schedule(total - left)) for left in (3, 2, 1)]
    final = 1 / 25 / 1e4
    expected = [final + (1 - final) * left / total for left in (3, 2, 1)]
    assert last == pytest.approx(expected, rel=1e-7)
    assert float(OneCycle(0.1, total)(2**30 + 1)) == pytest.approx(
        reference.one_cycle(2**30 + 1, 0.1, total), rel=1e-6
    )


@pytest.mark.skipif(BACKEND != "tensorflow", reason="64-bit integers")
def test_steps_beyond_32_bits():
    schedule = OneCycle(0.1, 2**40)
    assert float(schedule(2**39 + 1)) == pytest.approx(
        reference.one_cycle(2**39 + 1, 0.1, 2**40), rel=1e-6
    )
    assert float(schedule(2**50)) == np.float32(0.1 / 25 / 1e4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_drives_optimizers_of_every_dtype(dtype):
    schedule = OneCycle(0.5, 10)
    optimizer = keras.optimizers.SGD(schedule)
    variable = keras.Variable(ops.zeros(1), dtype=dtype)
    for _ in range(12):
        optimizer.apply([ops.ones(1, dtype)], [variable])
    expected = -sum(reference.one_cycle(step, 0.5, 10) for step in range(12))
    tolerance = 1e-5 if "32" in dtype or "64" in dtype else 0.02
    assert float(ops.cast(variable, "float32")[0]) == pytest.approx(
        expected, rel=tolerance
    )


def test_rate_is_float32_whatever_floatx_is():
    keras.config.set_floatx("float16")
    try:
        rate = OneCycle(0.1, 1000)(1)
    finally:
        keras.config.set_floatx("float32")
    assert keras.backend.standardize_dtype(rate.dtype) == "float32"
    assert float(rate) == pytest.approx(reference.one_cycle(1, 0.1, 1000), rel=1e-6)


@pytest.mark.parametrize("step", [1.0, np.float32(3), 0.5, 7.25])
def test_float_steps(step):
    expected = reference.one_cycle(float(step), 0.1, 10)
    assert float(OneCycle(0.1, 10)(step)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("step", [True, np.array([False])])
def test_steps_must_be_numbers(step):
    with pytest.raises(ValueError, match="OneCycle expects `step` to be a number"):
        OneCycle(0.1, 10)(step)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"max_learning_rate": 0}, r"`max_learning_rate` must be .* \(0, inf\). .*=0"),
        ({"max_learning_rate": float("nan")}, "max_learning_rate=nan"),
        ({"max_learning_rate": float("inf")}, "max_learning_rate=inf"),
        ({"total_steps": 0}, "`total_steps` must be a positive integer. .*=0"),
        ({"total_steps": 10.0}, "total_steps=10.0"),
        ({"warmup_fraction": 1}, r"`warmup_fraction` must be .* in \[0, 1\)"),
        ({"warmup_fraction": -0.1}, "warmup_fraction=-0.1"),
        ({"initial_learning_rate": 0.2}, r"`initial_learning_rate` .* in \[0, 0.1\]"),
        ({"initial_learning_rate": -1}, "initial_learning_rate=-1"),
        ({"final_learning_rate": 0.2}, r"`final_learning_rate` .* in \[0, 0.1\]"),
        ({"final_learning_rate": float("nan")}, "final_learning_rate=nan"),
        ({"anneal": "poly"}, "`anneal` must be one of 'cosine', 'linear'. .*'poly'"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        OneCycle(**{"max_learning_rate": 0.1, "total_steps": 10, **arguments})


def test_config_keeps_every_argument():
    assert OneCycle(1, 10).get_config() == {
        "max_learning_rate": 1.0,
        "total_steps": 10,
        "warmup_fraction": 0.3,
        "initial_learning_rate": None,
        "final_learning_rate": None,
        "anneal": "cosine",
        "name": "OneCycle",
    }

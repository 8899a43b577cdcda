"""What is drawn, without looking at it."""

import sys

import keras
import numpy as np
import pytest
from matplotlib import pyplot

from keras_ext.schedules import Chain, OneCycle, Warmup, plot_schedule
from tests.reference import schedules as reference


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def curves(ax):
    return {line.get_label(): np.asarray(line.get_ydata()) for line in ax.lines}


def test_draws_the_rate_of_every_step():
    ax = plot_schedule(OneCycle(0.1, 60), 100)
    (line,) = ax.lines
    expected = [reference.one_cycle(step, 0.1, 60) for step in range(100)]
    np.testing.assert_array_equal(line.get_xdata(), np.arange(100))
    np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-6)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "learning rate")
    assert ax.get_legend() is None


@pytest.mark.parametrize(
    "schedule",
    [
        keras.optimizers.schedules.CosineDecay(
            0.1, 30, warmup_target=0.2, warmup_steps=5
        ),
        keras.optimizers.schedules.CosineDecayRestarts(0.1, 7),
        keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5, staircase=True),
        keras.optimizers.schedules.InverseTimeDecay(0.1, 10, 0.5),
        keras.optimizers.schedules.PiecewiseConstantDecay([5, 9], [0.1, 0.05, 0.01]),
        keras.optimizers.schedules.PolynomialDecay(0.1, 30, 0.01, cycle=True),
        Warmup(keras.optimizers.schedules.PolynomialDecay(0.1, 30), 10),
        Chain([0.5], []),
    ],
    ids=lambda schedule: type(schedule).__name__,
)
def test_all_steps_at_once_are_the_steps_one_by_one(schedule):
    (line,) = plot_schedule(schedule, 40).lines
    some = range(0, 40, 3)
    expected = [float(schedule(step)) for step in some]
    np.testing.assert_allclose(line.get_ydata()[some], expected, rtol=1e-5, atol=1e-8)


def test_several_with_their_labels():
    ax = plot_schedule({"a": OneCycle(0.1, 60), "b": lambda step: 0.01 * step}, 20)
    drawn = curves(ax)
    assert list(drawn) == ["a", "b"]
    np.testing.assert_allclose(drawn["b"], 0.01 * np.arange(20))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]


def test_a_schedule_without_a_look_at_the_step():
    class Constant(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.25

    (line,) = plot_schedule(Constant(), 4).lines
    assert line.get_ydata().tolist() == [0.25] * 4


def test_draws_into_given_axes_only():
    figure, (left, right) = pyplot.subplots(1, 2)
    assert plot_schedule(OneCycle(0.1, 60), 10, ax=right) is right
    assert (len(left.lines), len(right.lines)) == (0, 1)
    assert pyplot.get_fignums() == [figure.number]


def test_without_axes_it_makes_a_new_figure():
    first, second = (plot_schedule(OneCycle(0.1, 60), 10) for _ in range(2))
    assert first.figure is not second.figure


def test_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"draws with matplotlib, .* pip install"):
        plot_schedule(OneCycle(0.1, 60), 10)


@pytest.mark.parametrize(
    ("schedule", "match"),
    [
        (0.1, "draws learning rate schedules and functions .* Received: 0.1"),
        ({"a": None}, "Received: None"),
        ([OneCycle(0.1, 60)], r"Received: \[<keras_ext"),
    ],
)
def test_only_schedules_and_functions(schedule, match):
    with pytest.raises(TypeError, match=match):
        plot_schedule(schedule, 10)
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("steps", [0, 2.5, None])
def test_bad_steps(steps):
    with pytest.raises(ValueError, match=f"`steps` must be a positive .*steps={steps}"):
        plot_schedule(OneCycle(0.1, 60), steps)

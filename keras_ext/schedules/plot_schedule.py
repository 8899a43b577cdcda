"""A plot of one or more schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from keras_ext import _checks

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_schedule(
    schedule: Callable[[Any], Any] | Mapping[str, Callable[[Any], Any]],
    steps: int,
    ax: Axes | None = None,
) -> Axes:
    """Plot the learning rate of one or more schedules over the steps.

    Shows what a schedule does before it is used in training. The rate is computed at
    every step, so that no corner is lost between two points.

    Args:
        schedule: A `keras.optimizers.schedules.LearningRateSchedule`, or a function
            from the step, an integer, to the rate; or a dict of these, with their
            labels for the legend as keys.
        steps: Positive integer. Number of steps to plot, from step 0.
        ax: `matplotlib.axes.Axes` to draw into. Default: `None`, a new figure.

    Returns:
        The `matplotlib.axes.Axes`, for titles, scales and `ax.figure.savefig`.

    Raises:
        ImportError: If matplotlib, which keras_ext does not install, is missing.
        TypeError: If `schedule` holds something other than a schedule or function.
        ValueError: If `steps` is out of range.

    Example:

    >>> from keras_ext.schedules import OneCycle, plot_schedule
    >>> ax = plot_schedule(OneCycle(0.1, total_steps=200), steps=300)
    >>> float(max(ax.lines[0].get_ydata()))
    0.1
    >>> curves = {"one cycle": OneCycle(0.1, 200), "constant": lambda step: 0.05}
    >>> ax = plot_schedule(curves, steps=300)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['one cycle', 'constant']
    """
    steps = _checks.positive_int("steps", steps)
    labelled = isinstance(schedule, Mapping)
    schedules = schedule if isinstance(schedule, Mapping) else {None: schedule}
    curves = {label: _rates_at(one, steps) for label, one in schedules.items()}
    ax = _new_axes() if ax is None else ax
    for label, rates in curves.items():
        ax.plot(rates, label=label)
    ax.set(xlabel="step", ylabel="learning rate")
    if labelled:
        ax.legend()
    return ax


def _rates_at(schedule: Any, steps: int) -> np.ndarray:
    """Return the learning rates of steps 0 to `steps - 1`."""
    if not callable(schedule):
        raise TypeError(
            "plot_schedule draws learning rate schedules and functions from the step "
            f"to the learning rate. Received: {schedule!r}"
        )
    rates = _at_once(schedule, steps)
    if rates is None:
        rates = np.array([float(schedule(step)) for step in range(steps)])
    return rates


def _at_once(schedule: Any, steps: int) -> np.ndarray | None:
    """Return all rates, or `None` if each step needs a separate call."""
    if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return None
    try:
        rates = schedule(ops.arange(steps, dtype="int32"))
    except (TypeError, ValueError):  # It branches on the step.
        return None
    return np.broadcast_to(ops.convert_to_numpy(rates), (steps,))


def _new_axes() -> Axes:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "plot_schedule draws with matplotlib, which is not installed: "
            "pip install matplotlib"
        ) from error
    return pyplot.subplots()[1]

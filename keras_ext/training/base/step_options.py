"""Options of requested steps: how many there are, and what acts at each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


# `eq=False`: a budget stands for one pass over data, and `XlaPolicy` decides once for
# each, even if two have the same numbers.
@dataclass(frozen=True, eq=False)
class StepBudget:
    """How many steps a pass over the data has.

    Args:
        steps: Number of steps from the beginning of the pass; 0 while that is not
            known.
        done: How many of them an earlier process made.
    """

    steps: int
    done: int = 0


class StepHooks:
    """The callbacks that act at every step, before and after it.

    Their methods are `before_compiled_step` and `after_compiled_step`, see
    `keras_ext.callbacks.TrainingCallback`. Those that can be traced are compiled with
    the step; the others are called from Python, and a call then makes one step.

    Args:
        traced: Callbacks that are traced into the compiled function.
        called: Callbacks that are called around each step.
    """

    def __init__(self, traced: Sequence[Any] = (), called: Sequence[Any] = ()) -> None:
        self.traced = tuple(traced)
        self.called = tuple(called)

    def trace_key(self) -> list[Any]:
        """Return the objects that a compiled step depends on: others need another one.

        For each traced callback, itself and its `traced_with`; or the `schedule` of one
        without that attribute that sets learning rates.
        """
        return [held for one in self.traced for held in (one, traced_with(one))]

    def before(self) -> None:
        """Let all callbacks act before a step that is not compiled."""
        # Traced callbacks act closest to the step, as in compiled code.
        call_before((*self.called, *self.traced))

    def after(self) -> None:
        """Let all callbacks act after a step that is not compiled."""
        call_after((*self.traced, *self.called))


@dataclass(frozen=True, eq=False)
class StepOptions:
    """The options that come with the batches of steps.

    Args:
        budget: How many steps there are in total. Default: not known.
        hooks: What acts at each. Default: nothing.
        keeps_each: Whether the logs of each step are wanted, not of the last only.
    """

    budget: StepBudget | None = None
    hooks: StepHooks = field(default_factory=StepHooks)
    keeps_each: bool = False


def call_before(callbacks: Sequence[Any]) -> None:
    """Let callbacks act before a step, in compiled code or not."""
    for one in callbacks:
        # A callback may have only one of the two hooks, and need not be a
        # TrainingCallback.
        hook = getattr(one, "before_compiled_step", None)
        if hook is not None:
            hook()


def call_after(callbacks: Sequence[Any]) -> None:
    """Let callbacks act after a step, in compiled code or not."""
    for one in callbacks:
        hook = getattr(one, "after_compiled_step", None)
        if hook is not None:
            hook()


def traced_with(callback: Any) -> Any:
    """Return the objects that the step hooks of a callback use."""
    return getattr(callback, "traced_with", getattr(callback, "schedule", None))

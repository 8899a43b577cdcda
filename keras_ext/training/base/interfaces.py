"""What the layers of the training room know of each other without an import.

A compiled training step, as seen by a loop and a saved run; a run and its epoch, as
seen by a saved run.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import keras
import tensorflow as tf

from keras_ext.training.base.workers import Workers


@runtime_checkable
class TrainingProgram(Protocol):
    """The compiled training step of a model, its attribute `training_program`."""

    def guard_updates(self, *, go_on: bool | None) -> Any:
        """Check loss and gradients before every update, see `NaNGuard`."""

    def begin_run(self) -> None:
        """Release what a training run that could not begin may have left."""

    def prepare(self, chunk: Any) -> None:
        """Create all variables that a training step on such batches needs."""

    def captured(self) -> list[tf.Variable]:
        """Return the variables that the step uses and that belong to a run."""

    def unrepeatable_operations(self) -> list[str]:
        """Return random operations of the step whose state cannot be saved."""

    def updates_all_at_once(self) -> bool:
        """Whether the model's optimizer updates all trainable variables."""

    def get_state(self) -> dict[str, Any]:
        """Return, as plain data, what determines how further steps are compiled."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Compile further steps like those of the run with this state."""


def program_of(model: Any) -> TrainingProgram | None:
    """Return the compiled training step of a model; `None` if it has none."""
    program = getattr(model, "training_program", None)
    # A user's model may have such an attribute for something else.
    return program if isinstance(program, TrainingProgram) else None


class EpochView(Protocol):
    """An epoch, as seen by a saved run."""

    index: int
    step: int

    @property
    def logged_metrics(self) -> list[keras.Metric]:
        """The metrics whose values were logged."""

    def get_state(self) -> dict[str, Any]:
        """Return the position in the epoch and what was logged, as plain data."""


class RunView(Protocol):
    """A run, as seen by the code that saves and restores it.

    Attributes:
        model: The model that is trained.
        program: Its compiled training step, if it has one.
        workers: Those that train together with this process, if there are any.
        others: Further objects whose state belongs to the run, by name.
        epochs: The number of the epoch at which the run ends.
        verbose: 0 if nothing is to be printed.
        seed: Seed of the orders of arrays.
        steps_made: The number of steps so far.
        metrics_to_reset: Metrics that are reset when the next epoch begins.
        sources: Sources of this process's batches, by the number of the pass over data
            within the epoch; or `"validation"`.
        saved_sources: Saved states of sources not yet requested, likewise.
    """

    model: keras.Model
    program: TrainingProgram | None
    workers: Workers | None
    others: Mapping[str, Any]
    epochs: int
    verbose: int
    seed: int
    steps_made: int
    stop_training: bool
    metrics_to_reset: list[keras.Metric]
    sources: dict[Any, Any]
    saved_sources: dict[Any, Any]

    @property
    def callbacks(self) -> Sequence[Any]:
        """All callbacks of the run."""

    @property
    def optimizer(self) -> Any:
        """The optimizer of the steps, or `None`."""

    @property
    def is_save_requested(self) -> bool:
        """Whether one of several workers finds that it is time to save."""

    def agree_to_save(self) -> None:
        """Let all workers know what each requests, before they save."""

    def is_requested(self, request: str) -> bool:
        """Whether a callback requests this."""

    def forget_request(self, request: str) -> None:
        """Reset the requests of callbacks."""

    def get_state(self, index: int) -> dict[str, Any]:
        """Return the counters, as plain data, before or in epoch `index`."""

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from there."""

    def reset_at_next_epoch(self, metrics: Iterable[keras.Metric]) -> None:
        """Let metrics begin again with the next epoch."""

"""The three compiled steps of a Trainer, made when they are first needed."""

import functools
import operator
from typing import TYPE_CHECKING, Any, Literal

import keras

from keras_ext.training.step.predict_program import CompiledPrediction
from keras_ext.training.step.program import CompiledStep
from keras_ext.training.trainer.hooks import overrides
from keras_ext.training.trainer.symbolic_build import build_variables
from keras_ext.training.trainer.update_guard import UpdateWatch

if TYPE_CHECKING:
    from keras_ext.training.trainer.trainer import Trainer


Counted = Literal["training", "pass", None]


class CompiledSteps:
    """What is compiled for a Trainer, until it is compiled anew.

    Args:
        trainer: The Trainer.
        counted: What its metrics have counted batches of since they were reset.

    Attributes:
        counted: The same, as long as this is what is compiled.
        of_keras: Keras's own functions for a step: by name, and by what looks at
            updates.
    """

    def __init__(self, trainer: "Trainer", counted: Counted = None) -> None:
        self.counted = counted
        self._trainer = trainer
        self._built = False
        self._traced_with: list[Any] | None = None
        self._watches: dict[bool, UpdateWatch] = {}
        self._trains: dict[UpdateWatch | None, CompiledStep] = {}
        self.of_keras: dict[tuple[str, UpdateWatch | None], Any] = {}

    @property
    def train(self) -> CompiledStep:
        """The `train_step`, with what looks at its updates now, if anything does."""
        trainer = self._trainer
        watch = trainer.update_watch
        if watch not in self._trains:
            self._trains[watch] = CompiledStep(
                trainer, trainer.watched_train_step, self._build, self.note_parts
            )
        return self._trains[watch]

    def watch(self, *, go_on: bool) -> UpdateWatch:
        """Return what looks at updates; the same again, so that traces serve again."""
        if go_on not in self._watches:
            self._watches[go_on] = UpdateWatch(go_on=go_on)
        return self._watches[go_on]

    @functools.cached_property
    def test(self) -> CompiledStep:
        """The `test_step`."""
        trainer = self._trainer
        return CompiledStep(
            trainer, trainer.test_step, self._build_test, self.note_parts
        )

    @functools.cached_property
    def predict(self) -> CompiledPrediction:
        """The `predict_step`."""
        trainer = self._trainer
        return CompiledPrediction(
            trainer, trainer.predict_step, _nothing, self.note_parts
        )

    def are_stale(self) -> bool:
        """Whether the model has other variables or layers than when it was traced.

        `quantize` and `enable_lora` give a layer others, for instance.
        """
        traced = self._traced_with
        if traced is None:
            return False
        now = self._parts()
        return len(now) != len(traced) or not all(map(operator.is_, now, traced))

    def trains_others(self) -> bool:
        """Whether other variables are trainable than when a step was traced."""
        return any(step.trains_others() for step in self._trains.values())

    def update_all_at_once(self) -> bool:
        """Whether one optimizer updates all variables, as it does by default."""
        return not any(map(self._overrides, ("train_step", "apply_gradients")))

    def get_state(self) -> dict[str, Any]:
        """Return what decides how further steps are compiled."""
        return {"train": self.train.get_state(), "test": self.test.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Have further steps compiled as those of the run with this state."""
        self.train.set_state(state["train"])
        self.test.set_state(state["test"])
        # The metrics are restored, too, unless an epoch begins.
        self.counted = "training"

    def note_parts(self) -> None:
        """Note of what the model consists; a trace may make missing variables."""
        self._traced_with = self._parts()

    def _parts(self) -> list[Any]:
        model = self._trainer.model
        return [*self._trainer.variables, *keras.Model.layers.fget(model)]

    def _overrides(self, hook: str) -> bool:
        return overrides(self._trainer, hook)

    def _build(self, batch: Any) -> None:
        if not self._overrides("train_step") and self._is_known():
            own = self._overrides("apply_gradients")
            build_variables(self._trainer, batch, optimizer=not own)
            self._built = True

    def _build_test(self, batch: Any) -> None:
        if not (self._built or self._overrides("test_step")) and self._is_known():
            build_variables(self._trainer, batch, optimizer=False)
            self._built = True

    def _is_known(self) -> bool:
        """Whether the hooks can be called with symbolic tensors.

        Those of Keras on a functional model can. On several replicas there is no
        other way; on one, the trace makes what variables are missing.
        """
        if self._trainer.distribute_strategy.num_replicas_in_sync > 1:
            return True
        hooks = ("forward", "compute_loss", "compute_metrics")
        functional = bool(getattr(self._trainer.model, "outputs", None))
        return functional and not any(map(self._overrides, hooks))


def _nothing(batch: Any) -> None:
    """Build nothing: a prediction needs no variables but the model's."""

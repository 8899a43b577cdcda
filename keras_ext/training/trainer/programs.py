"""The three compiled steps of a Trainer, created when first needed."""

import contextlib
import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import keras
import tensorflow as tf

from keras_ext.training.data.batch_checks import explain
from keras_ext.training.data.chunks import Chunk
from keras_ext.training.step.predict_program import PredictProgram
from keras_ext.training.step.program import Program
from keras_ext.training.step.replicas import joined_logs, joined_outputs
from keras_ext.training.step.step import Step
from keras_ext.training.trainer.hooks import SteppedModel, overrides
from keras_ext.training.trainer.running_metrics import RunningMetrics
from keras_ext.training.trainer.symbolic_build import build_optimizer, build_variables
from keras_ext.training.trainer.update_guard import UpdateGuard


class Programs:
    """The compiled steps of a Trainer, until it is compiled again or changes.

    A `StepContext` for the steps, and the `TrainingProgram` of a `Loop`.

    Args:
        trainer: The Trainer.

    Attributes:
        jit_choice: The `jit_compile` that was passed to `compile`.
        guard: Checks loss and gradients before every update, or `None`.
        metrics: Tracks what the metrics count.
    """

    _predict: PredictProgram | None

    def __init__(self, trainer: SteppedModel) -> None:
        self.jit_choice: bool | Literal["auto"] = "auto"
        self.guard: UpdateGuard | None = None
        self.metrics = RunningMetrics(trainer)
        self._trainer = trainer
        self._forget()

    @property
    def distribute_strategy(self) -> tf.distribute.Strategy:
        """The strategy that distributes the steps."""
        return self._trainer.distribute_strategy

    @property
    def run_eagerly(self) -> bool:
        """Whether nothing is compiled."""
        return bool(self._trainer.run_eagerly)

    @property
    def train(self) -> Program:
        """The `train_step`, with the current guard of its updates, if any."""
        self.refresh()
        return self._train_program()

    @property
    def test(self) -> Program:
        """The `test_step`."""
        self.refresh()
        return self._test_program()

    @property
    def predict(self) -> PredictProgram:
        """The `predict_step`."""
        self.refresh()
        if self._predict is None:
            step = self._step(self._trainer.predict_step, _nothing, self._joined)
            self._predict = PredictProgram(self, step)
        return self._predict

    def recompile(self, jit_choice: bool | Literal["auto"]) -> None:
        """Compile again, with another choice of the user."""
        self.jit_choice = jit_choice
        self.metrics.counted = None
        self._forget()

    def refresh(self, *, other_variables_train: bool = False) -> None:
        """Compile again if the model has changed since.

        Args:
            other_variables_train: Whether a different set of trainable variables counts
                as a change.
        """
        if (other_variables_train and self._trains_others()) or self._is_stale():
            self._forget()

    def keras_function(self, name: str, make: Callable[[], Any]) -> Any:
        """Return Keras's function for a step of the model in its current state.

        Args:
            name: `"train"`, `"test"` or `"predict"`.
            make: Creates it.
        """
        self.refresh()
        key = name, self.guard
        if key not in self._of_keras:
            self._of_keras[key] = make()
            self._note_parts()
        return self._of_keras[key]

    def forget_keras_function(self, name: str) -> None:
        """Let Keras's functions for a step be created again."""
        for key in [key for key in self._of_keras if key[0] == name]:
            del self._of_keras[key]

    def guard_updates(self, *, go_on: bool | None) -> UpdateGuard | None:
        """Check loss and gradients before every update; `NaNGuard` calls this.

        Args:
            go_on: Whether to make later updates once one was left out. `None`: stop
                checking.

        Returns:
            The guard that records the updates that were left out; `None` with several
            replicas, which are not checked.
        """
        self.guard = None
        if go_on is not None and self.distribute_strategy.num_replicas_in_sync == 1:
            # The same one again, so that functions traced with it are reused.
            if go_on not in self._guards:
                self._guards[go_on] = UpdateGuard(go_on=go_on)
            self.guard = self._guards[go_on]
        return self.guard

    def begin_run(self) -> None:
        """Release what a training run that could not begin may have left."""
        self.guard_updates(go_on=None)

    def prepare(self, chunk: Chunk) -> None:
        """Create all variables that a training step on such batches needs."""
        if self._trainer.compiled:
            self._train_program().prepare(chunk)

    def captured(self) -> list[tf.Variable]:
        """Return the variables that the training step uses, without the guard's."""
        # The guard's records are reset before every call and read after it, so there is
        # nothing in them to save.
        notes = None if self.guard is None else self.guard.notes
        return [one for one in self._train_program().captured() if one is not notes]

    def unrepeatable_operations(self) -> list[str]:
        """Return random operations of the step whose state cannot be saved."""
        return self._train_program().unrepeatable_operations()

    def updates_all_at_once(self) -> bool:
        """Whether one optimizer updates all variables, as it does by default."""
        return not any(map(self._overrides, ("train_step", "apply_gradients")))

    def get_state(self) -> dict[str, Any]:
        """Return what determines how further steps are compiled."""
        train, test = self._train_program(), self._test_program()
        return {"train": train.get_state(), "test": test.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Compile further steps like those of the run with this state."""
        self._train_program().set_state(state["train"])
        self._test_program().set_state(state["test"])
        # The metrics are also restored, unless an epoch begins.
        self.metrics.counted = "training"

    def _forget(self) -> None:
        self._is_built = False
        self._parts: list[Any] | None = None
        self._guards: dict[bool, UpdateGuard] = {}
        self._trains: dict[UpdateGuard | None, Program] = {}
        self._trained: dict[UpdateGuard | None, list[int]] = {}
        self._test: Program | None = None
        self._predict = None
        self._of_keras: dict[tuple[str, UpdateGuard | None], Any] = {}

    def _train_program(self) -> Program:
        if self.guard not in self._trains:
            self._trains[self.guard] = self._guarded_program(self.guard)
        return self._trains[self.guard]

    def _guarded_program(self, guard: UpdateGuard | None) -> Program:
        trainer = self._trainer

        # Named like the hook, since `_step` takes the hook's name from the function.
        def train_step(data: Any) -> Any:
            if guard is None:
                return trainer.train_step(data)
            with guard.step(trainer):
                return trainer.train_step(data)

        def traced() -> None:
            self._note_parts()
            # The first trace counts: its step keeps updating what was trainable then.
            self._trained.setdefault(guard, self._trainable_now())

        step = self._step(train_step, self._build, self._joined_logs, traced)
        return Program(self, replace(step, noted=self._counters))

    def _counters(self) -> list[keras.Variable]:
        """Return what callbacks read of the optimizer: its steps and its rate."""
        optimizer = getattr(self._trainer, "optimizer", None)
        found = [getattr(optimizer, n, None) for n in ("iterations", "learning_rate")]
        # A rate that a schedule gives follows from the number of steps.
        return [one for one in found if isinstance(one, keras.Variable)]

    def _test_program(self) -> Program:
        if self._test is None:
            step = self._step(
                self._trainer.test_step, self._build_test, self._joined_logs
            )
            self._test = Program(self, step)
        return self._test

    def _step(
        self,
        function: Callable[[Any], Any],
        build: Callable[[Any], None],
        join: Callable[[Any], Any],
        traced: Callable[[], None] | None = None,
    ) -> Step:
        name = function.__name__
        # A step that is not the default may take batches of any kind.
        hooks = (name, "forward", "compute_loss", "compute_metrics")
        is_custom = any(map(self._overrides, hooks))
        return Step(
            f"{type(self._trainer).__name__}.{name}",
            function,
            join,
            build,
            traced or self._note_parts,
            _explain_nothing if is_custom else self._explain,
        )

    def _explain(self, error: Exception, batch: Any, whole: bool) -> None:
        inputs = getattr(self._trainer.model, "inputs", None)
        explain(error, batch, inputs, whole=whole)

    def _joined(self, outputs: Any) -> Any:
        return joined_outputs(self.distribute_strategy, outputs)

    def _joined_logs(self, logs: dict[str, Any]) -> dict[str, Any]:
        return joined_logs(self.distribute_strategy, logs, self.metrics.results)

    def _is_stale(self) -> bool:
        """Whether the model's variables or layers have changed since it was traced.

        For example, `quantize` and `enable_lora` give a layer new ones.
        """
        traced = self._parts
        if traced is None:
            return False
        now = self._parts_now()
        # `==` of variables would compare their values.
        return len(now) != len(traced) or not all(map(operator.is_, now, traced))

    def _trains_others(self) -> bool:
        """Whether the trainable variables have changed since a step was traced."""
        now = self._trainable_now()
        return any(trained != now for trained in self._trained.values())

    def _trainable_now(self) -> list[int]:
        return [id(variable) for variable in self._trainer.trainable_variables]

    def _note_parts(self) -> None:
        """Record what the model consists of; a trace may create missing variables."""
        self._parts = self._parts_now()

    def _parts_now(self) -> list[Any]:
        layers = keras.Model.layers.fget(self._trainer.model)
        # Layers without variables may also be exchanged.
        return [*self._trainer.variables, *layers]

    def _overrides(self, hook: str) -> bool:
        return overrides(self._trainer, hook)

    def _build(self, batch: Any) -> None:
        # A user's `apply_gradients` or `train_step` may build optimizers for only some
        # variables; but none can within a step of several replicas.
        several = self._trainer.distribute_strategy.num_replicas_in_sync > 1
        if not self._overrides("train_step") and self._is_known():
            own = self._overrides("apply_gradients")
            build_variables(self._trainer, batch, optimizer=several or not own)
            self._is_built = True
        elif several:
            self._build_what_is_known(batch)

    def _build_what_is_known(self, batch: Any) -> None:
        """Create the variables that an overridden `train_step` will probably use."""
        build_optimizer(self._trainer)
        if self._is_known():
            # The hooks may not be made for what the step calls them with, or not be
            # called at all. If variables are then missing, the step itself raises.
            with contextlib.suppress(Exception):
                build_variables(self._trainer, batch, optimizer=False)

    def _build_test(self, batch: Any) -> None:
        if self._is_built or self._overrides("test_step"):
            return
        if self._is_known():
            build_variables(self._trainer, batch, optimizer=False)
            self._is_built = True

    def _is_known(self) -> bool:
        """Whether the hooks can be called with symbolic tensors.

        Those of Keras on a functional model can. On several replicas there is no other
        way; on one, the trace creates missing variables.
        """
        if self.distribute_strategy.num_replicas_in_sync > 1:
            return True
        hooks = ("forward", "compute_loss", "compute_metrics")
        functional = bool(getattr(self._trainer.model, "outputs", None))
        return functional and not any(map(self._overrides, hooks))


def _nothing(batch: Any) -> None:
    """Build nothing: a prediction needs no variables except the model's."""


def _explain_nothing(error: Exception, batch: Any, whole: bool) -> None:
    """Leave the error unchanged."""

"""Whether XLA compiles a step, or TensorFlow runs it as a graph: a fixed rule."""

from typing import Any, Literal, Protocol

import keras
import tensorflow as tf

from keras_ext.training.base.step_options import StepBudget

WORTH_STEPS = 1000
"""XLA takes as long to compile a step as some thousand steps take. Fewer are not worth
it."""

SLOW_ON_CPU = frozenset(
    {
        "Conv2D",
        "Conv3D",
        "DepthwiseConv2dNative",
        "MaxPool",
        "MaxPool3D",
        "AvgPool",
        "AvgPool3D",
    }
)
"""Operations that XLA runs on one core of a CPU, without the libraries for them."""

UNCOMPILABLE = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)
"""What TensorFlow raises for a function that XLA can't compile."""


def suits_xla(found: frozenset[str], strategy: tf.distribute.Strategy) -> bool:
    """Whether XLA is expected to run a step faster than TensorFlow does.

    - Under a strategy with several replicas: no.
    - On a GPU or TPU: yes.
    - On a CPU: yes, unless the step contains convolution or pooling.

    The rule looks at the step and the machine only, never at a clock, so that a
    program computes the same numbers whenever it is run.

    Args:
        found: The types of the operations in the step.
        strategy: What distributes it.
    """
    if strategy.num_replicas_in_sync > 1:
        return False
    return not on_cpu() or found.isdisjoint(SLOW_ON_CPU)


def on_cpu() -> bool:
    """Whether there is nothing faster than a CPU."""
    faster = ("GPU", "TPU")
    return not any(tf.config.list_logical_devices(kind) for kind in faster)


class Compilation(Protocol):
    """What the choice depends on, beside the step itself."""

    @property
    def distribute_strategy(self) -> tf.distribute.Strategy:
        """What distributes the step."""

    @property
    def jit_choice(self) -> bool | Literal["auto"]:
        """What the user has asked for, as in `compile(jit_compile=)`."""


class XlaPolicy:
    """Decides for one step which calls of it XLA compiles.

    By the rule of `suits_xla`, by the number of steps, and by the shape of the batch:
    XLA compiles for one shape, and an odd batch is not worth it. What the user has
    asked for comes first.

    Args:
        compilation: What the user has asked for, and what distributes the step.
    """

    def __init__(self, compilation: Compilation) -> None:
        self._compilation = compilation
        self._suits: bool | None = None
        self._budget: StepBudget | None = None
        self._made = 0
        self._enough_steps = False
        self._full_size: Any = None

    @property
    def is_forced(self) -> bool:
        """Whether the user has asked for XLA, whatever the step is."""
        return self._compilation.jit_choice is True

    @property
    def is_judged(self) -> bool:
        """Whether the step was looked at."""
        return self._suits is not None

    @property
    def suits(self) -> bool:
        """Whether XLA suits the step, once it was looked at."""
        return bool(self._suits)

    def judge(self, operations: frozenset[str]) -> None:
        """Look at the operations of the traced step, the first time."""
        # Only once: graph and XLA give different numbers, so a run must not change from
        # one to the other because of a second trace.
        if self._suits is None:
            choice = self._compilation.jit_choice
            rule = suits_xla(operations, self._compilation.distribute_strategy)
            self._suits = rule if choice == "auto" else bool(choice)

    def decline(self) -> None:
        """Take in that XLA can't compile the step."""
        self._suits = False

    def count(self, steps: int) -> None:
        """Take in that steps are made."""
        self._made += steps

    def begin_call(self, budget: StepBudget | None) -> None:
        """Decide, once for every budget, whether there are enough steps to compile for.

        Without a budget, as many are sure to come as were made before.
        """
        if budget is None or budget is not self._budget:
            if not (budget and budget.done):
                # In a pass that is continued, the full size was restored.
                self._full_size = None
            # Those that an earlier process has made are part of `_made`. In sum, a
            # continued pass is decided on as it was in the run before.
            steps = budget.steps - budget.done if budget else 0
            self._enough_steps = self._made + steps >= WORTH_STEPS
        self._budget = budget

    def begin_single_step(self) -> None:
        """Decide that for a step that is made by itself."""
        self._budget = None
        self._enough_steps = self._made >= WORTH_STEPS

    def may_suit(self, batch: Any) -> bool:
        """Whether it is worth looking at the step, for batches like this one.

        XLA knows no ragged and sparse tensors, and compiles what it can for each number
        of values.
        """
        if self.is_forced:
            return True
        leaves = (leaf for leaf in keras.tree.flatten(batch) if leaf is not None)
        choice = self._compilation.jit_choice
        return self._enough_steps and (
            choice != "auto" or all(isinstance(leaf, tf.Tensor) for leaf in leaves)
        )

    def takes_shapes(self, batch: Any, *, full_size: bool) -> bool:
        """Whether to compile for a batch of these shapes, the first that came or not.

        Args:
            batch: The batch, of tensors.
            full_size: Whether others of the same size are to be expected.
        """
        if not (full_size or self.is_forced):
            return False
        leaves = [leaf for leaf in keras.tree.flatten(batch) if leaf is not None]
        shapes = [leaf.shape.as_list() for leaf in leaves]
        self._full_size = self._full_size or shapes
        return self.is_forced or shapes == self._full_size

    def get_state(self) -> dict[str, Any]:
        """Return what decides how further steps are compiled."""
        # Their names in checkpoints of format 1.
        return {"made": self._made, "regular": self._full_size}

    def set_state(self, state: dict[str, Any]) -> None:
        """Decide as in the run with this state."""
        self._made, self._full_size = state["made"], state["regular"]

"""Whether XLA compiles a step, or TensorFlow runs it as a graph: a fixed rule."""

from typing import Any, Literal, Protocol

import keras
import tensorflow as tf

from keras_ext.training.base.step_options import StepBudget

WORTH_STEPS = 1000
"""Compiling with XLA takes as long as some thousand steps; fewer are not worth it."""

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
"""Operations that XLA runs on a single CPU core, without optimized libraries."""

UNCOMPILABLE = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)
"""Errors that TensorFlow raises for a function that XLA cannot compile."""


def suits_xla(found: frozenset[str], strategy: tf.distribute.Strategy) -> bool:
    """Whether XLA is expected to run a step faster than TensorFlow does.

    - Under a strategy with several replicas: no.
    - On a GPU or TPU: yes.
    - On a CPU: yes, unless the step contains convolution or pooling.

    The rule depends only on the step and the machine, never on a clock, so that a
    program computes the same numbers in every run.

    Args:
        found: The types of the operations in the step.
        strategy: Strategy that distributes it.
    """
    if strategy.num_replicas_in_sync > 1:
        return False
    return not on_cpu() or found.isdisjoint(SLOW_ON_CPU)


def on_cpu() -> bool:
    """Whether a CPU is the only device."""
    faster = ("GPU", "TPU")
    return not any(tf.config.list_logical_devices(kind) for kind in faster)


class Compilation(Protocol):
    """What the choice depends on, in addition to the step itself."""

    @property
    def distribute_strategy(self) -> tf.distribute.Strategy:
        """The strategy that distributes the step."""

    @property
    def jit_choice(self) -> bool | Literal["auto"]:
        """The user's choice, as in `compile(jit_compile=)`."""


class XlaPolicy:
    """Decides for one step which calls of it XLA compiles.

    By the rule of `suits_xla`, the number of steps, and the shape of the batch: XLA
    compiles for one shape, and an odd batch is not worth it. The user's choice takes
    precedence.

    Args:
        compilation: The user's choice, and the strategy that distributes the step.
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
        """Whether the user has requested XLA for every step."""
        return self._compilation.jit_choice is True

    @property
    def is_judged(self) -> bool:
        """Whether the step was examined."""
        return self._suits is not None

    @property
    def suits(self) -> bool:
        """Whether XLA suits the step, once it was examined."""
        return bool(self._suits)

    def judge(self, operations: frozenset[str]) -> None:
        """Examine the operations of the traced step, the first time."""
        # Only once: graph and XLA give different numbers, so a run must not switch from
        # one to the other because of a second trace.
        if self._suits is None:
            choice = self._compilation.jit_choice
            rule = suits_xla(operations, self._compilation.distribute_strategy)
            self._suits = rule if choice == "auto" else bool(choice)

    def decline(self) -> None:
        """Record that XLA cannot compile the step."""
        self._suits = False

    def count(self, steps: int) -> None:
        """Record that steps are made."""
        self._made += steps

    def begin_call(self, budget: StepBudget | None) -> None:
        """Decide, once per budget, whether there are enough steps to compile for.

        Without a budget, as many are expected as were made before.
        """
        if budget is None or budget is not self._budget:
            if not (budget and budget.done):
                # In a pass that is continued, the full size was restored.
                self._full_size = None
            # Those that an earlier process made are part of `_made`. Altogether, the
            # decision for a continued pass is the same as in the earlier run.
            steps = budget.steps - budget.done if budget else 0
            self._enough_steps = self._made + steps >= WORTH_STEPS
        self._budget = budget

    def begin_single_step(self) -> None:
        """Decide the same for a single step."""
        self._budget = None
        self._enough_steps = self._made >= WORTH_STEPS

    def may_suit(self, batch: Any) -> bool:
        """Whether it is worth examining the step, for batches like this one.

        XLA does not support ragged and sparse tensors, and compiles what it can
        separately for each number of values.
        """
        if self.is_forced:
            return True
        leaves = (leaf for leaf in keras.tree.flatten(batch) if leaf is not None)
        choice = self._compilation.jit_choice
        return self._enough_steps and (
            choice != "auto" or all(isinstance(leaf, tf.Tensor) for leaf in leaves)
        )

    def takes_shapes(self, batch: Any, *, full_size: bool) -> bool:
        """Whether to compile for a batch of these shapes, the first or not.

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
        """Return what determines how further steps are compiled."""
        # The names in checkpoints of format 1.
        return {"made": self._made, "regular": self._full_size}

    def set_state(self, state: dict[str, Any]) -> None:
        """Decide as in the run with this state."""
        self._made, self._full_size = state["made"], state["regular"]

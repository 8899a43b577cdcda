"""Updates that are left out if the loss or a gradient is not finite."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf


class UpdateGuard:
    """Checks loss and gradients before every update, in compiled code.

    An update with one that is not finite is left out and recorded. The records are read
    after a call, which may have made many steps.

    Args:
        go_on: Whether later updates are made; otherwise none are made once one was left
            out.
    """

    def __init__(self, *, go_on: bool) -> None:
        self.go_on = go_on
        self._names = ["loss"]
        self._before: list[tuple[Any, Any]] = []
        self._left_out: Any = None
        self._in_step = False
        # Steps since `reset`, the first one left out, its tensor, how many left out.
        # They share a variable, so that one read from Python is enough.
        self.notes = tf.Variable([0, -1, -1, 0], dtype=tf.int64, trainable=False)

    def reset(self) -> None:
        """Reset the records."""
        self.notes.assign([0, -1, -1, 0])

    def read(self) -> tuple[int, str, int] | None:
        """Return the first step left out, the tensor responsible, and the count."""
        _, step, tensor, count = self.notes.numpy().tolist()
        return (step, self._names[tensor], count) if count else None

    def has_seen_steps(self) -> bool:
        """Whether a step was checked since `reset`."""
        return bool(self.notes[0] > 0)

    @contextlib.contextmanager
    def step(self, trainer: Any) -> Iterator[None]:
        """Wrap a training step: keep what the forward pass may change."""
        weights = trainer.non_trainable_weights
        self._before = [(one, tf.convert_to_tensor(one)) for one in weights]
        self._left_out, self._in_step = None, True
        try:
            yield
        finally:
            self._before, self._left_out, self._in_step = [], None, False

    def update(self, trainer: Any, loss: Any, gradients: Sequence[Any]) -> None:
        """Call `apply_gradients` of a Trainer, unless something is not finite.

        An optimizer that scales the loss handles overflowing gradients itself.
        """
        variables, optimizer = trainer.trainable_variables, trainer.optimizer
        self._names = ["loss", *(f"gradient of {one.path}" for one in variables)]
        if not optimizer.built:
            optimizer.build(variables)
        scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        finite = [_is_finite(loss)]
        finite += [tf.constant(True) if scaled else _is_finite(g) for g in gradients]
        good = tf.stack(finite)
        step, first, tensor, count = tf.unstack(self.notes)
        bad = ~tf.reduce_all(good)
        new = bad & (count == 0)
        self.notes.assign(
            [
                step + 1,
                tf.where(new, step, first),
                tf.where(new, tf.argmin(tf.cast(good, tf.int32)), tensor),
                count + tf.cast(bad, tf.int64),
            ]
        )
        left_out = bad if self.go_on else bad | (count > 0)
        self._left_out = left_out

        def make() -> Any:
            trainer.apply_gradients(gradients)
            return tf.constant(True)

        tf.cond(left_out, lambda: tf.constant(False), make)
        # The forward pass updated moving statistics before it was known that the step
        # is left out.
        for weight, value in self._before:
            weight.assign(tf.where(left_out, value, tf.convert_to_tensor(weight)))

    def counted(self, loss: Any, samples: Any) -> tuple[Any, Any]:
        """Return loss and number of samples, both 0 if the step is to be ignored."""
        if not (self.go_on and self._in_step):
            return loss, samples
        forgotten = self._left_out
        # A step that made no `update` is judged by its loss.
        if forgotten is None:
            forgotten = ~tf.math.is_finite(loss)
        nothing = tf.zeros_like(samples)
        return (
            # The loss too: with a weight of 0, NaN would still be counted as NaN.
            tf.where(forgotten, tf.zeros_like(loss), loss),
            tf.where(forgotten, nothing, samples),
        )


def _is_finite(value: Any) -> Any:
    if value is None:
        return tf.constant(True)
    if isinstance(value, tf.IndexedSlices):
        value = value.values
    return tf.reduce_all(tf.math.is_finite(value))

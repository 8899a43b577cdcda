"""What a step may call besides its hooks: to count the loss, to update safely."""

from typing import Any

import keras
import tensorflow as tf

from keras_ext._types import Tensor
from keras_ext.training.data.chunks import first_tensor
from keras_ext.training.trainer.compiled_model import CompiledModel
from keras_ext.training.trainer.update_guard import UpdateWatch


class WatchedModel(CompiledModel):
    """The part of `Trainer` that stands between a step and what it does.

    Args:
        model: The `keras.Model` to wrap, or `None`.
        *more: Nothing.
        **kwargs: `name`, `dtype`, `trainable` of `keras.Model`.
    """

    def __init__(self, model: keras.Model | None, *more: Any, **kwargs: Any) -> None:
        super().__init__(model, *more, **kwargs)
        self._tracks_loss = False
        self._watch: UpdateWatch | None = None

    @property
    def update_watch(self) -> UpdateWatch | None:
        """What looks at loss and gradients before every update now, if anything."""
        return self._watch

    def update(self, loss: Tensor, gradients: list[Tensor | None]) -> None:
        """Call `apply_gradients`, unless `NaNGuard` finds something that is not finite.

        For steps that are written anew; not a hook.

        Args:
            loss: Scalar.
            gradients: What `apply_gradients` is to be called with.
        """
        if self._watch is None:
            self.apply_gradients(gradients)
        else:
            self._watch.update(self, loss, gradients)

    def track_loss(self, loss: Tensor, x: Any) -> None:
        """Count `loss` in the running mean that is logged as `loss`.

        For steps that are written anew; not a hook.

        Args:
            loss: Scalar, as `compute_loss` returns it.
            x: The batch's inputs, whose first axis weights the mean.
        """
        self._tracks_loss = True
        tracker = next((m for m in self.metrics if m.name == "loss"), None)
        if tracker is not None:
            samples = tf.shape(first_tensor(x))[0]
            # Keras divides the loss by the number of replicas, for the gradients.
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            if self._watch is not None:
                loss, samples = self._watch.counted(loss, samples)
            tracker.update_state(loss * replicas, sample_weight=samples)

    def watched_train_step(self, data: Any) -> Any:
        """Make the `train_step`, with what looks at its updates around it."""
        if self._watch is None:
            return self.train_step(data)
        with self._watch.step(self):
            return self.train_step(data)

    def watch_updates(self, *, go_on: bool | None) -> UpdateWatch | None:
        """Look at loss and gradients before every update; `NaNGuard` calls this.

        Args:
            go_on: Whether to make later updates once one was left out. `None`: look at
                nothing any more.

        Returns:
            What notes the updates that were left out; `None` if there are several
            replicas, which are not looked at.
        """
        single = self.distribute_strategy.num_replicas_in_sync == 1
        watched = single and go_on is not None
        self._watch = self._compiled.watch(go_on=bool(go_on)) if watched else None
        return self._watch

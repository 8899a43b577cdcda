"""Averages of the weights, evaluated, saved and kept in place of the weights."""

import threading
import warnings
import weakref
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import keras
from keras import ops

from keras_ext import _checks
from keras_ext.callbacks._batch_norm import reestimate, statistics_of
from keras_ext.callbacks._learning_rate import single_optimizers
from keras_ext.callbacks._running_average import RunningAverage, check_values
from keras_ext.callbacks.training_callback import TrainingCallback

_averaging: Any = weakref.WeakKeyDictionary()
"""For each model, the callback whose `on_train_begin` was last."""


class WeightAveraging(TrainingCallback):
    """Averages the weights over training, and evaluates and keeps the average.

    The average of the weights during training generalizes better than those of the last
    step, at the cost of one more copy. There are two kinds, for weights `w` taken after
    `t = 1, 2, ...` steps or epochs:

    - `"ema"`, exponential, over the last steps: the coefficient of weights taken `k`
      steps before the last is proportional to `decay^k`. It can be used at any time.
    - `"swa"`, stochastic weight averaging: the plain mean of the weights at the ends of
      epochs, from `start_epoch` on. Meant for the last quarter or so of training, with
      a learning rate that is constant or cyclical by then.

    Training itself continues with its own weights. The average replaces them in the
    model from the beginning of validation, or from the end of the epoch if there is
    none, until the next step; and permanently when training ends.

    Reference: B. T. Polyak, A. B. Juditsky, "Acceleration of Stochastic Approximation
    by Averaging", 1992, https://doi.org/10.1137/0330046; P. Izmailov, D. Podoprikhin,
    T. Garipov, D. Vetrov, A. G. Wilson, "Averaging Weights Leads to Wider Optima and
    Better Generalization", 2018, https://arxiv.org/abs/1803.05407.

    Args:
        averaging: `"ema"` or `"swa"`. Default: `"ema"`.
        decay: Float in [0, 1), only for `"ema"`. Default: 0.999.
        update_freq: When to take the weights: after every `"batch"`, after a number of
            batches (a positive integer), or after every `"epoch"`. Default: `None`,
            which means `"batch"` for `"ema"` and `"epoch"` for `"swa"`.
        start_epoch: Non-negative integer, number of the first epoch (from 0) in which
            weights are taken. Default: 0.
        batch_norm_data: Batches, such as a `tf.data.Dataset`, a `keras.utils.PyDataset`
            or a list, each `x`, `(x, y)` or `(x, y, sample_weight)`. The moving
            statistics of `keras.layers.BatchNormalization` belong to the weights of the
            last steps, not to their average; these batches are passed through the model
            with the average in it, and the statistics are set to the means over them.
            Default: `None`, they stay unchanged, which suffices for `"ema"` with a
            decay not too close to 1.
        batch_norm_freq: When to do so: `"train_end"`, or `"epoch"`: whenever the
            average replaces the weights, so that every validation and saved model has
            matching statistics. Default: `"train_end"`.

    Raises:
        TypeError: If `batch_norm_data` cannot be iterated over repeatedly.
        ValueError: If an argument is out of range; when training begins, if the
            optimizer keeps an average itself (`use_ema`), if there is a second
            WeightAveraging, or if batches must be counted and `Model.fit` has
            `steps_per_execution > 1`.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ext.callbacks import WeightAveraging
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(0.2), loss="mse")
    >>> x = np.random.default_rng(0).normal(size=(64, 1))
    >>> y = 3 * x + np.random.default_rng(1).normal(size=(64, 1))
    >>> average = WeightAveraging(decay=0.98)
    >>> history = model.fit(
    ...     x, y, batch_size=4, epochs=20, verbose=0, callbacks=[average]
    ... )
    >>> history.history["loss"][-1] > model.evaluate(x, y, verbose=0)
    True

    In addition to `use_ema` of Keras's optimizers, it offers the mean over epochs, a
    start, any optimizer, statistics of batch normalization, and no bias toward the
    first weights. Trainable weights are averaged, at least in float32.

    `keras.callbacks.ModelCheckpoint`, like everything that acts at the end of an epoch,
    finds the average in the model: with validation data, anywhere in the list of
    callbacks; without, only after this callback. Place
    `EarlyStopping(restore_best_weights=True)` before it, so that statistics are
    computed for the best average, not the last. Within an epoch, others see the weights
    of training. A training run can have one WeightAveraging; if it ends before any
    weights were taken, it warns.

    In `keras_ext.Trainer.fit` and other loops that make many steps per call, weights
    are taken in the compiled call, after every step; elsewhere between two calls, one
    variable after another, which noticeably slows down a small model. With a
    `keras_ext.callbacks.Checkpoint` in `Trainer.fit` and `Loop`, the average is saved,
    and the run continued to the bit. In `Model.fit`, a Checkpoint does not save other
    callbacks: the average would begin again, from itself if it was saved in place of
    the weights.
    """

    batch_hook_freq: Literal["epoch"] | int = "epoch"

    def __init__(
        self,
        averaging: Literal["ema", "swa"] = "ema",
        decay: float = 0.999,
        *,
        update_freq: Literal["batch", "epoch"] | int | None = None,
        start_epoch: int = 0,
        batch_norm_data: Iterable[Any] | None = None,
        batch_norm_freq: Literal["train_end", "epoch"] = "train_end",
    ) -> None:
        super().__init__()
        self.averaging = _checks.one_of("averaging", averaging, ("ema", "swa"))
        self.decay = _checks.number("decay", decay, low=0, high=1, open_high=True)
        if averaging == "swa" and decay != 0.999:
            raise ValueError(
                "`decay` is used only by averaging='ema'. Received: averaging='swa', "
                f"decay={decay!r}. Leave `decay` out or change the average."
            )
        self.update_freq = _frequency(update_freq)
        self.start_epoch = _checks.non_negative_int("start_epoch", start_epoch)
        self.batch_norm_data = _repeatable(batch_norm_data)
        self.batch_norm_freq = _checks.one_of(
            "batch_norm_freq", batch_norm_freq, ("train_end", "epoch")
        )
        # Batches from one term to the next; 0: epochs.
        every: Any = update_freq or ("batch" if averaging == "ema" else "epoch")
        self._every: int = {"batch": 1, "epoch": 0}.get(every, every)
        self._average: RunningAverage | None = None
        # The model's own weights, while the average is in their place.
        self._own: list[Any] | None = None
        self._statistics: list[Any] = []
        self._running = self._epoch_ended = self._is_active = self._taken = False
        self._sees_steps = False

    def get_state(self) -> dict[str, Any]:
        """Return the average, and the model's own weights if it is in their place."""
        if self._average is None:
            return {}
        state = self._average.get_state()
        return {**state, "own": self._own, "taken": self._taken}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from there; the model has the weights that it had then."""
        average = self._prepared()
        if state and average is not None:
            if state["own"] is not None:
                of_own = (*average.variables, *self._statistics)
                check_values("own", state["own"], of_own)
            _checks.one_of("taken", state["taken"], (True, False))
            average.set_state(state)
            self._own, self._taken = state["own"], state["taken"]

    def on_train_begin(self, logs: Any = None) -> None:
        """Check that averaging is possible, and begin."""
        _averaging[self.model] = weakref.ref(self)
        self._check_optimizer()
        self._check_frequency()
        self._own = None
        # Noted now: an evaluation that is also given this callback sets other `params`.
        self._sees_steps = self.calls_step_hooks
        self._epoch_ended = self._is_active = self._taken = False
        self._running, self._thread = True, threading.get_ident()
        average = self._prepared()
        if average is not None:
            average.reset()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Let training continue with its own weights."""
        self._check_is_alone()
        self._take_out()
        self._epoch_ended = self._taken = False
        self._is_active = epoch >= self.start_epoch
        # The variables of a model that is not built are created in its first step,
        # after which they are taken from Python.
        known = self._prepared() is not None
        self.batch_hook_freq = "epoch" if known or not self._every else 1

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Let training continue with its own weights."""
        self._take_out()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Take the weights, unless that is done after each step."""
        if not self._sees_steps:
            self._take()

    def after_compiled_step(self) -> None:
        """Take the weights after the step."""
        self._take()

    def _take(self) -> None:
        """Take the weights if batches count; also in compiled code."""
        if not self._every:
            return
        self._check_thread()
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        average = self._average or self._prepared()
        if average is not None:
            average.offer()

    def on_test_begin(self, logs: Any = None) -> None:
        """Let the average be evaluated, if this is the validation of training."""
        if self._running:
            self._put_in(with_this_epoch=True)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Take the weights, and leave the average for the other callbacks."""
        average = self._average or self._prepared()
        if average is not None and not self._every and self._is_active:
            average.add_values(self._own or average.variables)
            self._taken = True
        self._epoch_ended = True
        self._put_in()

    def on_train_end(self, logs: Any = None) -> None:
        """Leave the average in the model."""
        if not self._running:
            return
        self._put_in()
        if self._own and self.batch_norm_freq == "train_end":
            self._reestimate()
        if self._average is not None and self._own is None and self._epoch_ended:
            warnings.warn(
                "WeightAveraging has taken no weights: training ended before, with "
                f"start_epoch={self.start_epoch}, update_freq={self.update_freq!r}. "
                "The model has its own weights. Begin earlier, or train longer.",
                stacklevel=2,
            )
        self._own, self._running = None, False

    def _prepared(self) -> RunningAverage | None:
        """Return the average of the model's weights, `None` if it has none yet."""
        variables = self.model.trainable_variables
        if not (self.model.built and variables):
            return None
        if self._average is None or not self._average.is_of(variables):
            self._statistics = self._found_statistics()
            self._average = RunningAverage(
                variables,
                self.decay if self.averaging == "ema" else None,
                self._every or 1,
                paused=self.start_epoch > 0,
            )
            self.traced_with = self._average
        self._average.active.assign(self._is_active)
        return self._average

    def _found_statistics(self) -> list[Any]:
        if self.batch_norm_data is None:
            return []
        found = statistics_of(self.model)
        if not found:
            raise ValueError(
                "`batch_norm_data` is for models with batch normalization. Received: "
                f"the model {self.model.name!r}, which has no trainable "
                "BatchNormalization. Leave it out."
            )
        return found

    def _put_in(self, *, with_this_epoch: bool = False) -> None:
        """Replace the model's weights by the average.

        Args:
            with_this_epoch: Whether the current weights count, if epochs do and they
                have not been taken yet.
        """
        average = self._average
        if average is None or self._own is not None:
            return
        if with_this_epoch and not (self._every or self._taken) and self._is_active:
            values = average.values(and_also=average.variables)
        elif average.count:
            values = average.values()
        else:
            return
        self._own = [ops.copy(one) for one in (*average.variables, *self._statistics)]
        for variable, value in zip(average.variables, values, strict=True):
            variable.assign(value)
        if self.batch_norm_freq == "epoch":
            self._reestimate()

    def _take_out(self) -> None:
        """Give the model its own weights back, if the average is in their place."""
        if self._own is None or self._average is None:
            return
        variables = (*self._average.variables, *self._statistics)
        for variable, value in zip(variables, self._own, strict=True):
            variable.assign(value)
        self._own = None

    def _reestimate(self) -> None:
        if self.batch_norm_data is not None:
            reestimate(self.model, _batches(self.batch_norm_data))

    def _check_is_alone(self) -> None:
        current = _averaging.get(self.model)
        if current is not None and current() is not self:
            raise ValueError(
                "A training run can have one WeightAveraging, since each puts its "
                "average into the model. Received: several. To compare averages, train "
                "twice."
            )

    def _check_optimizer(self) -> None:
        optimizers = single_optimizers(getattr(self.model, "optimizer", None))
        if any(getattr(one, "use_ema", False) for one in optimizers):
            raise ValueError(
                "WeightAveraging and the optimizer's `use_ema=True` would each put an "
                "average into the model. Received: both. Leave one of them out."
            )

    def _check_frequency(self) -> None:
        compiled = getattr(self.model, "steps_per_execution", 1)
        steps = (self.params or {}).get("steps_per_execution", compiled)
        if self._every and steps != 1:
            raise ValueError(
                "WeightAveraging must see every batch, but the model was compiled with "
                f"steps_per_execution={steps}. Compile it with steps_per_execution=1, "
                "use keras_ext.Trainer.fit, or average with update_freq='epoch'."
            )

    def _check_thread(self) -> None:
        if threading.get_ident() != self._thread:
            raise RuntimeError(
                "Keras calls a callback that is passed alone from other threads while "
                "training continues. Expected: a list, `callbacks=[WeightAveraging()]`."
            )


def _frequency(update_freq: Any) -> Any:
    """Return `update_freq` if it is known or a number of batches, else raise."""
    if update_freq is None or (
        isinstance(update_freq, str) and update_freq in ("batch", "epoch")
    ):
        return update_freq
    try:
        return _checks.positive_int("update_freq", update_freq)
    except ValueError:
        raise ValueError(
            "`update_freq` must be 'batch', 'epoch' or a positive integer, a number of "
            f"batches. Received: update_freq={update_freq!r}"
        ) from None


def _repeatable(batches: Any) -> Any:
    """Return `batches` if they can be iterated over repeatedly, else raise."""
    unfit = hasattr(batches, "shape") or isinstance(batches, (tuple, dict, str))
    if batches is None or isinstance(batches, keras.utils.PyDataset):
        return batches
    if unfit or not hasattr(batches, "__iter__") or hasattr(batches, "__next__"):
        raise TypeError(
            "`batch_norm_data` must be batches that can be iterated over repeatedly: a "
            "tf.data.Dataset, a keras.utils.PyDataset or a list. Received: "
            f"{type(batches).__name__}. Split arrays into batches, "
            "`np.array_split(x, len(x) // 32)`."
        )
    return batches


def _batches(data: Any) -> Iterator[Any]:
    if isinstance(data, keras.utils.PyDataset):
        return (data[number] for number in range(data.num_batches))
    return iter(data)

"""Kendall's tau: how many of all pairs of samples are ordered alike."""

from typing import Literal

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._numerics import scale
from keras_ext._types import Config, Tensor
from keras_ext.metrics import _ranks
from keras_ext.metrics._sample_buffer import SampleBuffer


@keras.saving.register_keras_serializable(package="keras_ext")
class KendallTau(keras.metrics.Metric):
    """Agreement of targets and predictions on the order of pairs of samples.

    For regression and ranking where the order of the samples matters and the scale
    of the predictions does not: 1 if predictions order every pair as the targets do,
    -1 if they order every pair the other way. With `P` the number of pairs in the
    same order in both, and `Q` of those in opposite order (pairs that are equal in
    one of them are neither):

    `tau_b = (P - Q) / sqrt(pairs unequal in y_true * pairs unequal in y_pred)`

    `tau_c = 2 * (P - Q) / (n^2 * (m - 1) / m)`

    with `n` samples and `m` the smaller number of distinct values in `y_true` and in
    `y_pred`. Both correct for equal values; `tau_c` is for different numbers of
    distinct values, such as predicted scores against a few grades. Weights are
    frequencies: a sample of weight 2 counts as two samples.

    Reference: M. G. Kendall, "The Treatment of Ties in Ranking Problems", 1945,
    https://doi.org/10.1093/biomet/33.3.239; for `tau_c`, A. Stuart, "The Estimation
    and Comparison of Strengths of Association in Contingency Tables", 1953,
    https://doi.org/10.1093/biomet/40.1-2.105.

    Args:
        variant: `"b"` or `"c"`. Default: `"b"`.
        capacity: Positive integer. How many samples are kept, since pairs need all of
            them; those of weight 0 do not count. The cost of a step grows with it;
            ideally it is the number of samples in the dataset. Default: 8192.
        name: Name of the metric.
        dtype: Dtype of the result. Default: `None`, which means
            `keras.config.floatx()`.

    Call arguments:
        y_true: Targets.
        y_pred: Predictions.
        sample_weight: Weights of the samples, finite and at least 0. A sample of weight
            0 counts as absent; any other with a NaN prediction makes the result NaN.

    Input shape:
        `y_true`, `y_pred`: `(batch, ...)`, the same; each element is a sample.
        `(batch,)` and `(batch, 1)` are the same. `sample_weight`: `(batch, ...)` or
        `(batch,)`.

    Output shape:
        A scalar, from -1 to 1.

    Raises:
        ValueError: If an argument is not valid; on update, if shapes do not match or,
            in eager execution, there are more samples than `capacity`. Compiled code
            cannot raise; there, the result is NaN, and the next `reset_state` warns and
            states the number of samples.

    Example:

    >>> import numpy as np
    >>> from keras_ext.metrics import KendallTau
    >>> metric = KendallTau()
    >>> y_true = np.array([1.0, 2.0, 3.0, 4.0])
    >>> float(metric(y_true, np.array([0.1, 0.3, 0.2, 0.4])))  # 5 pairs of 6
    0.6667

    If targets or predictions are all equal, or nothing has been seen yet, tau is 0 / 0.
    The result is then 0. A NaN among them makes it NaN.

    Masks are not used; pass them as `sample_weight`. Samples are kept in float32, even
    under half precision. `result`, which Keras's `fit` calls in every step, counts the
    pairs in `O(n log n)`: on a CPU about 3 ms (with XLA) or 7 ms with the default
    capacity, a sixth of that with 1024, where the step of a small network takes 0.4 ms.
    On several replicas of `tf.distribute`, each keeps its own samples, and the combined
    result is NaN.
    """

    def __init__(
        self,
        variant: Literal["b", "c"] = "b",
        *,
        capacity: int = 8192,
        name: str | None = "kendall_tau",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.variant = _checks.one_of("variant", variant, ("b", "c"))
        self.capacity = _checks.positive_int("capacity", capacity)
        self._buffer = SampleBuffer(self, 2, self.capacity)

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Keep the samples of a batch."""
        pairs, weights = _ranks.flat_pairs(
            "KendallTau", y_true, y_pred, sample_weight, self._buffer.dtype
        )
        self._buffer.append(pairs, weights, has_zeros=sample_weight is not None)

    def result(self) -> Tensor:
        """Return tau of all samples since the last reset."""
        pairs, weights = self._buffer.read()
        x, y = ops.unstack(pairs, 2)
        tau = kendall_tau(x, y, weights, self.variant)
        return ops.cast(self._buffer.checked(tau), self.dtype)

    def reset_state(self) -> None:
        """Discard all samples; warn if there were more than `capacity`."""
        self._buffer.warn_of_lost_samples()
        super().reset_state()

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "variant": self.variant,
            "capacity": self.capacity,
        }


def kendall_tau(
    x: Tensor, y: Tensor, weights: Tensor, variant: Literal["b", "c"] = "b"
) -> Tensor:
    """Return Kendall's tau of two vectors; 0 if it is 0 / 0.

    Args:
        x: Float tensor `(n,)`.
        y: Float tensor `(n,)`.
        weights: Float tensor `(n,)`, how often each sample counts.
        variant: `"b"` or `"c"`.

    Returns:
        A scalar.
    """
    weights = weights / scale(weights, 0)  # their products might overflow or vanish
    x, y, weights = (_padded_to_power_of_two(values) for values in (x, y, weights))
    by_y = _ranks.stable_argsort(y)
    # By x, then by y where x is equal.
    by_x = ops.take(by_y, _ranks.stable_argsort(ops.take(x, by_y)))
    x, y, weights = (ops.take(values, by_x) for values in (x, y, weights))
    order = _ranks.stable_argsort(y)  # by y, then by x where y is equal
    sorted_x, sorted_y, sorted_weights = (
        ops.take(values, order) for values in (x, y, weights)
    )
    smaller_x, distinct_x = _smaller(weights, x)
    smaller_y, distinct_y = _smaller(sorted_weights, sorted_y)
    smaller_or_before, _ = _smaller(sorted_weights, sorted_y, sorted_x)
    # Terms are never negative, so that no precision is lost by cancellation.
    unequal_x = ops.sum(weights * smaller_x)
    unequal_y = ops.sum(sorted_weights * smaller_y)
    tied = smaller_or_before - smaller_y  # equal y, smaller x
    unequal = ops.sum(sorted_weights * (ops.take(smaller_x, order) - tied))
    difference = unequal - 2 * _inversions(order, weights)
    if variant == "b":
        return ops.divide_no_nan(
            ops.divide_no_nan(difference, ops.sqrt(unequal_x)), ops.sqrt(unequal_y)
        )
    m = ops.cast(ops.minimum(distinct_x, distinct_y), weights.dtype)
    most = ops.square(ops.sum(weights)) * ops.divide_no_nan(m - 1, 2 * m)
    return ops.divide_no_nan(difference, most)


def _padded_to_power_of_two(values: Tensor) -> Tensor:
    size = values.shape[0]
    return ops.pad(values, (0, (1 << (size - 1).bit_length()) - size))


def _smaller(weights: Tensor, *keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weight of all smaller keys for each, and the number of keys.

    The keys are sorted; a key consists of one entry of each of `keys`.
    """
    groups = _ranks.tie_groups(*(ops.expand_dims(key, 0) for key in keys))
    sums = _ranks.sums_of_groups(weights, groups)
    smaller = _ranks.take_groups(ops.cumsum(sums, axis=-1) - sums, groups)
    return smaller[0], ops.sum(ops.cast(ops.not_equal(sums, 0), "int32"))


def _inversions(order: Tensor, weights: Tensor) -> Tensor:
    """Return the weight of the pairs that a permutation puts in opposite order.

    Splits the numbers by their bits from the highest down, and with them the
    permutation: two numbers stay together until a bit separates them, and are counted
    there if the greater one comes first.

    Args:
        order: The numbers from 0 to `n - 1`, where `n` is a power of two.
        weights: Float tensor `(n,)`: the weight of each number.
    """
    state = (ops.cast(order, "int32"), weights, ops.zeros((), dtype=weights.dtype))
    return ops.fori_loop(0, order.shape[0].bit_length() - 1, _halve, state)[2]


def _halve(
    level: Tensor, state: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Separate numbers by one more bit; add the weight of the pairs found by it."""
    order, weights, total = state
    half = ops.right_shift(order.shape[0] // 2, level)
    is_greater = ops.not_equal(ops.bitwise_and(order, half), 0)
    ones = ops.cast(is_greater, weights.dtype)
    weight = ops.take(weights, order)
    # Sums over the preceding numbers that share all higher bits.
    index = ops.arange(order.shape[0], dtype="int32")
    start = ops.bitwise_and(index, -2 * half)
    values = ops.stack([ones, ones * weight])
    sums = ops.cumsum(values, axis=-1) - values
    number, before = ops.unstack(sums - ops.take(sums, start, axis=-1), 2)
    number = ops.cast(number, "int32")
    place = ops.where(is_greater, start + half + number, index - number)
    order = ops.scatter_update(order, ops.expand_dims(place, -1), order)
    return order, weights, total + ops.sum((1 - ones) * weight * before)

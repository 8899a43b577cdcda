"""Specificity: the share of negatives that are predicted as such."""

import math
from collections.abc import Sequence

import keras
from keras import ops

from keras_ext import _checks, _labels
from keras_ext._types import Config, Tensor
from keras_ext.metrics import _inputs, _running_sum

_NAME = "Specificity"


@keras.saving.register_keras_serializable(package="keras_ext")
class Specificity(keras.metrics.Metric):
    """Share of the negatives that are predicted as negatives.

    For two classes or several labels: the counterpart of `keras.metrics.Recall` for
    negatives. Also called true negative rate; `1 - specificity` is the false alarm
    rate. A prediction above the threshold is positive. With `tn` the summed weights of
    targets 0 that are predicted negative and `fp` of those predicted positive:

    `specificity = tn / (tn + fp)`

    Reference: J. Yerushalmy, "Statistical Problems in Assessing Methods of Medical
    Diagnosis, with Special Reference to X-Ray Techniques", 1947,
    https://doi.org/10.2307/4586294.

    Args:
        thresholds: Predictions above this number are positive; or a list of such
            numbers; 0 for logits. Default: 0.5.
        class_id: Non-negative integer, the entry of the last axis to evaluate. Default:
            `None`, all of them together.
        name: Name of the metric.
        dtype: Dtype of the result. Default: `None`, which means
            `keras.config.floatx()`.

    Call arguments:
        y_true: 1 for positives, 0 for negatives.
        y_pred: Probabilities of being positive, or with `thresholds=0` logits.
        sample_weight: Weights of the samples or of their entries, finite and at least
            0. Entries of weight 0 count as absent; any other with a NaN prediction
            makes the result NaN.

    Input shape:
        `y_pred`: `(batch, ...)`. `y_true`: the same; with `(batch, ..., 1)` also
        `(batch, ...)`. `sample_weight`: the same or the first axes of it, such as
        `(batch,)`.

    Output shape:
        A scalar, from 0 to 1; with a list of thresholds, a vector of their length.

    Raises:
        ValueError: If an argument is out of range; on update, if shapes do not match,
            `class_id` is not an entry of the last axis or, in eager execution, a target
            is neither 0 nor 1. Compiled code cannot raise; there, such a target makes
            the result NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.metrics import Specificity
    >>> y_true, y_pred = np.array([0, 0, 0, 0, 1]), np.array([0.1, 0.2, 0.4, 0.6, 0.3])
    >>> float(Specificity()(y_true, y_pred))
    0.75
    >>> print(np.array(Specificity([0.15, 0.5])(y_true, y_pred)))
    [0.25 0.75]

    Without negatives, the result is 0. Many thresholds cost about as much as two. The
    result for a list of them is not a scalar: the progress bar of Keras shows its mean,
    or in Keras 3.12 raises an error, as `keras.callbacks.TensorBoard` does in all
    versions. In these cases, use one metric for each.

    Masks are not used; pass them as `sample_weight`. Sums are kept as pairs of float32,
    even under half precision, so that counts are exact up to 2**48 if no single batch
    counts more than 2**24.
    """

    def __init__(
        self,
        thresholds: float | Sequence[float] = 0.5,
        *,
        class_id: int | None = None,
        name: str | None = "specificity",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.thresholds = _checks.number_or_list("thresholds", thresholds)
        self.class_id = _checks.optional(_checks.non_negative_int, "class_id", class_id)
        bounds = self.thresholds
        self._bounds = sorted(bounds if isinstance(bounds, list) else [bounds])
        shape = (len(self._bounds) + 1,)
        self.total, self.rest = _running_sum.add_variables(self, shape)

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Add the negatives of a batch."""
        y_true, y_pred = _inputs.same_shape(_NAME, y_true, y_pred)
        weights = _labels.weights_like(_NAME, sample_weight, y_true, self.total.dtype)
        if self.class_id is not None:
            self._check_has_class(y_pred)
            y_true, y_pred, weights = (
                values[..., self.class_id] for values in (y_true, y_pred, weights)
            )
        absent = ops.equal(weights, 0)
        true, known = _inputs.binary_targets(_NAME, y_true, absent, y_pred)
        negatives = weights * ops.cast(~true, weights.dtype)
        batch = weights_between(y_pred, negatives, self._bounds)
        spoiled = _inputs.are_spoiled(weights, known)
        batch = ops.where(spoiled, float("nan"), batch)
        _running_sum.accumulate(self.total, self.rest, batch)

    def result(self) -> Tensor:
        """Return the specificity since the last reset."""
        shares = specificity(self.total + self.rest)
        if not isinstance(self.thresholds, list):
            return ops.cast(shares[0], self.dtype)
        places = [self._bounds.index(bound) for bound in self.thresholds]
        return ops.cast(ops.take(shares, places), self.dtype)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "thresholds": self.thresholds,
            "class_id": self.class_id,
        }

    def _check_has_class(self, y_pred: Tensor) -> None:
        shape = tuple(y_pred.shape)
        if len(shape) < 2 or (shape[-1] is not None and self.class_id >= shape[-1]):
            raise ValueError(
                f"{_NAME} expects a last axis with an entry `class_id`. Received: "
                f"class_id={self.class_id}, y_pred.shape={shape}"
            )


def weights_between(y_pred: Tensor, weights: Tensor, bounds: Sequence[float]) -> Tensor:
    """Return the summed weights of the predictions between every two bounds.

    Args:
        y_pred: Predictions.
        weights: Their weights, of the same shape.
        bounds: Numbers in ascending order.

    Returns:
        Tensor `(len(bounds) + 1,)`, of the dtype of the weights: up to the first bound,
        above it up to the second, and so on, above the last.
    """
    predictions = ops.cast(y_pred, weights.dtype)
    if len(bounds) == 1:  # the usual case, which needs no search
        above = weights * ops.cast(predictions > bounds[0], weights.dtype)
        return ops.stack([ops.sum(weights - above), ops.sum(above)])
    # Above no bound, as in a comparison; backends differ in where a search puts NaN.
    predictions = ops.where(ops.isnan(predictions), -math.inf, predictions)
    between = ops.searchsorted(
        ops.convert_to_tensor(bounds, weights.dtype), ops.reshape(predictions, (-1,))
    )
    return ops.segment_sum(
        ops.reshape(weights, (-1,)), between, num_segments=len(bounds) + 1
    )


def specificity(between: Tensor) -> Tensor:
    """Return the specificity at every bound; 0 if it is 0 / 0.

    Args:
        between: Summed weights of the negatives between bounds, as of
            `weights_between`.

    Returns:
        Tensor `(bounds,)`; NaN if `between` has a NaN.
    """
    below = ops.cumsum(between)
    return ops.divide_no_nan(below[:-1], below[-1])

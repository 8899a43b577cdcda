"""Average precision: the area under the curve of precision against recall."""

from typing import Literal, TypeAlias

import keras
from keras import ops

from keras_ext import _checks, _labels
from keras_ext._types import Config, Tensor
from keras_ext.metrics import _inputs, _ranks
from keras_ext.metrics._sample_buffer import SampleBuffer

_NAME = "AveragePrecision"

Average: TypeAlias = Literal["macro", "micro", "weighted"] | None
"""How the values of several labels are combined; `None` means that they are not."""


@keras.saving.register_keras_serializable(package="keras_ext")
class AveragePrecision(keras.metrics.Metric):
    """Mean precision over all positives found, in order of descending scores.

    For retrieval, detection and classes with few positives, where accuracy and the area
    under the ROC curve look too good: for a classifier that scores at random, it is the
    share of positives. With `P[k]` and `R[k]` the precision and the recall of the
    samples whose score is one of the `k` highest:

    `AP = sum over k of (R[k] - R[k - 1]) * P[k]`

    Equal scores are one threshold. Unlike `keras.metrics.AUC(curve="PR")`, it uses
    every score as a threshold instead of a grid, and does not interpolate.

    Reference: C. D. Manning, P. Raghavan, H. Schütze, "Introduction to Information
    Retrieval", 2008, section 8.4,
    https://nlp.stanford.edu/IR-book/html/htmledition/evaluation-of-ranked-retrieval-results-1.html.

    Args:
        num_labels: Positive integer. Number of labels, each of them binary. Default: 1.
        average: How the values of several labels are combined. `"macro"`: their mean;
            `"weighted"`: weighted by their positives; `"micro"`: all pairs of a sample
            and a label as samples of one label; `None`: a value for each. Default:
            `"macro"`.
        capacity: Positive integer. How many samples are kept, since the order of
            scores needs all of them; those of weight 0 do not count. The cost of a step
            grows with it; ideally it is the number of samples in the dataset.
            Default: 8192.
        name: Name of the metric.
        dtype: Dtype of the result. Default: `None`, which means
            `keras.config.floatx()`.

    Call arguments:
        y_true: Targets, 0 or 1.
        y_pred: Scores: probabilities or logits.
        sample_weight: Weights of the samples, finite and at least 0. A sample of weight
            0 counts as absent; any other with a NaN prediction makes the result NaN.

    Input shape:
        `y_true`, `y_pred`: `(batch, num_labels)`; for one label also `(batch,)`.
        `sample_weight`: `(batch,)`.

    Output shape:
        A scalar, from 0 to 1; with `average=None`, `(num_labels,)`.

    Raises:
        ValueError: If an argument is not valid; on update, if shapes do not match or,
            in eager execution, a target is neither 0 nor 1, or there are more samples
            than `capacity`. Compiled code cannot raise; there, the result is NaN, and
            after too many samples the next `reset_state` warns and states their number.

    Example:

    >>> import numpy as np
    >>> from keras_ext.metrics import AveragePrecision
    >>> metric = AveragePrecision()
    >>> scores = np.array([0.9, 0.8, 0.7, 0.6])
    >>> float(metric(np.array([1, 0, 1, 0]), scores))  # 1/2 * 1/1 + 1/2 * 2/3
    0.8333

    A label without positives has value 0, as in scikit-learn. A NaN among the scores
    makes the result NaN.

    With `average=None` the result is not a scalar: the progress bar of Keras shows its
    mean, or in Keras 3.12 raises an error, as `keras.callbacks.TensorBoard` does in all
    versions. In these cases, use one metric for each label.

    Masks are not used; pass them as `sample_weight`. Samples are kept in float32, even
    under half precision. `result`, which Keras's `fit` calls in every step, sorts the
    scores of each label: on a CPU about 1 ms for one label with the default capacity,
    where the step of a small network takes 0.4 ms. On several replicas of
    `tf.distribute`, each keeps its own samples, and the combined result is NaN.
    """

    def __init__(
        self,
        num_labels: int = 1,
        *,
        average: Average = "macro",
        capacity: int = 8192,
        name: str | None = "average_precision",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.num_labels = _checks.positive_int("num_labels", num_labels)
        self.average = _checks.one_of(
            "average", average, ("macro", "micro", "weighted", None)
        )
        self.capacity = _checks.positive_int("capacity", capacity)
        self._buffer = SampleBuffer(self, 2 * self.num_labels, self.capacity)

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Keep the samples of a batch."""
        y_true, y_pred = self._rows("y_true", y_true), self._rows("y_pred", y_pred)
        if not _checks.shapes_agree(y_true.shape, y_pred.shape):
            raise ValueError(
                f"{_NAME} expects equally many targets and predictions. Received: "
                f"{y_true.shape[0]} samples in y_true, {y_pred.shape[0]} in y_pred"
            )
        weights = _labels.weights_like(
            _NAME, sample_weight, y_true[:, 0], self._buffer.dtype, what="target"
        )
        absent = ops.expand_dims(ops.equal(weights, 0), axis=-1)
        true, known = _inputs.binary_targets(_NAME, y_true, absent)
        weights = ops.where(ops.all(known, axis=-1), weights, float("nan"))
        samples = ops.concatenate(
            [ops.cast(rows, self._buffer.dtype) for rows in (true, y_pred)], axis=-1
        )
        self._buffer.append(samples, weights, has_zeros=sample_weight is not None)

    def result(self) -> Tensor:
        """Return the average precision of all samples since the last reset."""
        samples, weights = self._buffer.read()
        y_true, y_pred = samples[: self.num_labels], samples[self.num_labels :]
        if self.average == "micro":
            weights = ops.tile(weights, self.num_labels)
            y_true, y_pred = ops.reshape(y_true, (1, -1)), ops.reshape(y_pred, (1, -1))
        values, positives = average_precision(y_true, y_pred, weights)
        if self.average == "weighted":
            values = ops.divide_no_nan(ops.sum(values * positives), ops.sum(positives))
        elif self.average is not None:
            values = ops.mean(values)
        return ops.cast(self._buffer.checked(values), self.dtype)

    def reset_state(self) -> None:
        """Discard all samples; warn if there were more than `capacity`."""
        self._buffer.warn_of_lost_samples()
        super().reset_state()

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "num_labels": self.num_labels,
            "average": self.average,
            "capacity": self.capacity,
        }

    def _rows(self, name: str, values: Tensor) -> Tensor:
        """Return `values` as `(batch, num_labels)`."""
        values = ops.convert_to_tensor(values)
        if len(values.shape) == 1 and self.num_labels == 1:
            return ops.expand_dims(values, axis=-1)
        if not _checks.shapes_agree(values.shape, (None, self.num_labels)):
            raise ValueError(
                f"{_NAME} expects `{name}` of shape (batch, {self.num_labels}), as "
                f"`num_labels={self.num_labels}` says. Received: "
                f"{name}.shape={tuple(values.shape)}"
            )
        return values


def average_precision(
    y_true: Tensor, y_pred: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the average precision of each label, and the weight of its positives.

    Args:
        y_true: Targets, 0 or 1, `(labels, n)`.
        y_pred: Scores, `(labels, n)`.
        weights: Weights of the samples, `(n,)`.

    Returns:
        Two tensors `(labels,)`.
    """
    order = ops.argsort(-y_pred, axis=-1)
    groups = _ranks.tie_groups(ops.take_along_axis(y_pred, order, axis=-1))
    sorted_weights = ops.take(weights, order)
    true = sorted_weights * ops.take_along_axis(y_true, order, axis=-1)
    gained = _ranks.sums_of_groups(true, groups)
    found = ops.cumsum(gained, axis=-1)
    chosen = ops.cumsum(_ranks.sums_of_groups(sorted_weights, groups), axis=-1)
    positives = ops.sum(gained, axis=-1)
    area = ops.sum(gained * ops.divide_no_nan(found, chosen), axis=-1)
    return ops.divide_no_nan(area, positives), positives

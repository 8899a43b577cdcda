"""Perplexity: the effective number of words a language model chooses among."""

import keras
from keras import ops

from keras_ext import _checks, _labels
from keras_ext._types import Config, Tensor
from keras_ext.metrics._inputs import are_probabilities
from keras_ext.metrics._running_sum import ExponentialOfMean

_NAME = "Perplexity"
_HINT = (
    "If it marks samples to leave out, pass it as `ignore_class`, or give them a "
    "`sample_weight` of 0."
)
_MOST = 1e30
"""Replaces an infinite crossentropy, since pairs of floats cannot sum infinities."""


@keras.saving.register_keras_serializable(package="keras_ext")
class Perplexity(ExponentialOfMean):
    """Exponential of the mean crossentropy, over all samples.

    For language models: a model of perplexity 20 is as unsure as one that chooses
    among 20 words of equal probability. With `p` the probability of a sample's own
    class and `w` its weight:

    `perplexity = exp(sum(w * -log(p)) / sum(w))`

    This is not the mean of the batches' perplexities, nor the exponential of the
    `loss` in the logs if batches differ in their number of samples (tokens).

    Reference: F. Jelinek, R. L. Mercer, L. R. Bahl, J. K. Baker, "Perplexity, a
    Measure of the Difficulty of Speech Recognition Tasks", 1977,
    https://doi.org/10.1121/1.2016299.

    Args:
        from_logits: Whether predictions are logits. Otherwise they are probabilities.
            Default: `False`.
        ignore_class: Integer, the label of samples to leave out, such as that of
            padding. Default: `None`.
        name: Name of the metric.
        dtype: Dtype of the result. Default: `None`, which means
            `keras.config.floatx()`.

    Call arguments:
        y_true: Class labels.
        y_pred: Probabilities, or logits with `from_logits=True`.
        sample_weight: Weights of the samples, finite and at least 0. A sample of weight
            0 counts as absent; any other with a NaN prediction makes the result NaN.

    Input shape:
        `y_pred`: `(batch, ..., classes)`, such as `(batch, time, words)`. `y_true`:
        `(batch, ...)` or `(batch, ..., 1)`. `sample_weight`: `(batch, ...)` or
        `(batch,)`.

    Output shape:
        A scalar of at least 1, or 0 if nothing has been seen yet.

    Raises:
        ValueError: On update, if shapes do not match or there are fewer than two
            classes or, in eager execution, a label is not one of the classes, or
            probabilities do not sum to 1 or are negative, by more than 0.01 in total.
            Compiled code cannot raise; there, the result is NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.metrics import Perplexity
    >>> metric = Perplexity()
    >>> y_pred = np.array([[[0.5, 0.5, 0.0], [0.125, 0.75, 0.125]]])
    >>> float(metric(np.array([[0, 2]]), y_pred))  # the root of 2 * 8
    4.0

    Probabilities are clipped to `keras.config.epsilon()`, as in Keras; logits are not.
    Masks are not used: pass them as `sample_weight`, or give padding its own label as
    `ignore_class`. Crossentropies are computed at least in float32, and summed as pairs
    of float32. If the result exceeds what its dtype can hold, it is infinite.
    """

    def __init__(
        self,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = "perplexity",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.from_logits = from_logits
        self.ignore_class = _checks.optional_int("ignore_class", ignore_class)

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Add the crossentropies of a batch."""
        y_pred = ops.cast(y_pred, self.total.dtype)
        _check_has_classes(y_pred)
        labels = _labels.without_class_axis(_NAME, y_true, y_pred.shape)
        weights = _labels.weights_like(
            _NAME, sample_weight, labels, y_pred.dtype, self.ignore_class
        )
        absent, classes = ops.equal(weights, 0), y_pred.shape[-1]
        valid = _labels.in_range(_NAME, labels, classes)
        _labels.check(_NAME, "y_true", labels, valid | absent, classes, _HINT)
        index = ops.cast(ops.where(valid, labels, 0), "int32")
        if not self.from_logits:
            valid = valid & are_probabilities(_NAME, y_pred, absent)
        values = ops.where(absent, 0.0, crossentropy(index, y_pred, self.from_logits))
        self.add(ops.minimum(values, _MOST), weights, valid | absent)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "from_logits": self.from_logits,
            "ignore_class": self.ignore_class,
        }


def crossentropy(labels: Tensor, y_pred: Tensor, from_logits: bool = False) -> Tensor:
    """Return `-log(p)` of every label.

    Args:
        labels: Class labels, `(...)`.
        y_pred: Probabilities or logits, `(..., classes)`.
        from_logits: Whether `y_pred` holds logits.

    Returns:
        Tensor `(...)`, of the dtype of `y_pred`.
    """
    own = ops.take_along_axis(y_pred, ops.expand_dims(labels, axis=-1), axis=-1)
    own = ops.squeeze(own, axis=-1)
    if from_logits:
        return ops.logsumexp(y_pred, axis=-1) - own
    epsilon = keras.config.epsilon()
    return -ops.log(ops.clip(own, epsilon, 1 - epsilon))


def _check_has_classes(y_pred: Tensor) -> None:
    shape = tuple(y_pred.shape)
    if len(shape) < 2 or shape[-1] == 1:
        raise ValueError(
            f"{_NAME} expects `y_pred` of shape (batch, ..., classes), with at least 2 "
            f"classes. Received: y_pred.shape={shape}. Convert a single probability "
            "`p` of class 1 to two, `[1 - p, p]`."
        )

"""Losses, one sample at a time."""

import math

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """exp(z_i) / sum_j exp(z_j) over the last axis.

    The largest logit is first subtracted from all, which cancels in the ratio.
    """
    logits = np.asarray(logits, dtype=np.float64)
    exponential = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponential / exponential.sum(axis=-1, keepdims=True)


def sparse_categorical_focal_crossentropy(
    labels: np.ndarray,
    probabilities: np.ndarray,
    alpha: float | np.ndarray = 0.25,
    gamma: float = 2.0,
) -> np.ndarray:
    """Return -alpha (1 - p_t)^gamma log(p_t) for every sample.

    p_t is the probability of the sample's own class, on the last axis of
    `probabilities`; `alpha` is a number, or one per class.  No probability is
    clipped: the loss of p_t = 0 is infinite.

    Lin et al. 2017, https://arxiv.org/abs/1708.02002, equation 5.
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    samples = probabilities.reshape(-1, probabilities.shape[-1])
    flat_labels = np.asarray(labels).reshape(-1)
    if len(flat_labels) != len(samples):
        raise ValueError(f"{len(flat_labels)} labels of {len(samples)} samples")
    weights = np.broadcast_to(np.asarray(alpha, dtype=np.float64), samples.shape[-1:])
    losses = np.zeros(len(samples))
    for n, label in enumerate(flat_labels):
        p = float(samples[n, int(label)])
        log_p = math.log(p) if p > 0 else -math.inf
        rest = max(1.0 - p, 0.0)  # p may be 1 + rounding
        losses[n] = -float(weights[int(label)]) * rest**gamma * log_p
    return losses.reshape(probabilities.shape[:-1])


def pinball(
    y_true: np.ndarray, y_pred: np.ndarray, tau: float | np.ndarray
) -> np.ndarray:
    """Average the quantile loss over the last axis.

    rho(u) = tau u        if u = y_true - y_pred >= 0
             (tau - 1) u  otherwise

    `tau` is a number, or one per entry of the last axis.  Koenker & Bassett 1978,
    "Regression quantiles", https://doi.org/10.2307/1913643.
    """
    difference = np.asarray(y_true, np.float64) - np.asarray(y_pred, np.float64)
    taus = np.broadcast_to(np.asarray(tau, np.float64), difference.shape)
    losses = np.zeros(difference.shape)
    for index in np.ndindex(*difference.shape):
        u = difference[index]
        losses[index] = taus[index] * u if u >= 0 else (taus[index] - 1.0) * u
    return losses.sum(axis=-1) / difference.shape[-1]

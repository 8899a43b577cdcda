"""Metrics of the order of values: over all samples, or over all pairs of them.

A weight is a frequency: a sample of weight w is w samples, and one of weight 0 none.
"""

import math

import numpy as np


def _samples(
    y_true: np.ndarray, y_pred: np.ndarray, sample_weight: np.ndarray | None
) -> tuple[list[float], list[float], list[float]]:
    """Return true values, predicted ones and weights, those of weight 0 left out."""
    true = np.asarray(y_true, dtype=np.float64)
    predicted = np.asarray(y_pred, dtype=np.float64)
    if true.size != predicted.size:
        raise ValueError(f"{true.size} true values, {predicted.size} predicted")
    if sample_weight is None:
        weights = np.ones(true.shape)
    else:
        weights = np.asarray(sample_weight, dtype=np.float64)
        while weights.ndim < true.ndim:
            weights = weights[..., np.newaxis]
        while weights.ndim > true.ndim:
            weights = weights.squeeze(axis=-1)
        weights = np.broadcast_to(weights, true.shape)
    x, y, w = [], [], []
    for a, b, weight in zip(
        true.reshape(-1), predicted.reshape(-1), weights.reshape(-1), strict=True
    ):
        if weight != 0:
            x.append(float(a))
            y.append(float(b))
            w.append(float(weight))
    return x, y, w


def midranks(
    values: np.ndarray, *, sample_weight: np.ndarray | None = None
) -> np.ndarray:
    """Rank from 1 on; equal values share the middle of the ranks that they take.

    The w copies of equal values above `below` smaller ones take the ranks
    below + 1 .. below + w, in the middle below + (w + 1) / 2.
    """
    values = np.asarray(values, dtype=np.float64).reshape(-1)
    if sample_weight is None:
        weights = np.ones(len(values))
    else:
        weights = np.asarray(sample_weight, dtype=np.float64).reshape(-1)
    ranks = np.zeros(len(values))
    for i, value in enumerate(values):
        below = 0.0
        equal = 0.0
        for other, weight in zip(values, weights, strict=True):
            if other < value:
                below += weight
            elif other == value:
                equal += weight
        ranks[i] = below + (equal + 1.0) / 2.0
    return ranks


def spearman_correlation(
    y_true: np.ndarray, y_pred: np.ndarray, *, sample_weight: np.ndarray | None = None
) -> float:
    """Correlate (Pearson) the mid-ranks of the two; 0 if either is constant.

    Spearman 1904, https://doi.org/10.2307/1412159.
    """
    x, y, weights = _samples(y_true, y_pred, sample_weight)
    if len(set(x)) < 2 or len(set(y)) < 2:
        return 0.0
    x_ranks = midranks(np.array(x), sample_weight=np.array(weights))
    y_ranks = midranks(np.array(y), sample_weight=np.array(weights))
    total = sum(weights)
    x_mean = sum(w * r for w, r in zip(weights, x_ranks, strict=True)) / total
    y_mean = sum(w * r for w, r in zip(weights, y_ranks, strict=True)) / total
    covariance = 0.0
    x_variance = 0.0
    y_variance = 0.0
    for w, a, b in zip(weights, x_ranks, y_ranks, strict=True):
        covariance += w * (a - x_mean) * (b - y_mean)
        x_variance += w * (a - x_mean) ** 2
        y_variance += w * (b - y_mean) ** 2
    return float(covariance / math.sqrt(x_variance * y_variance))


def kendall_tau(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    variant: str = "b",
    *,
    sample_weight: np.ndarray | None = None,
) -> float:
    """Compare pairs in the same order (P) with pairs in opposite order (Q).

    b  (P - Q) / sqrt((P + Q + X) (P + Q + Y)), X and Y the pairs tied in x, in y
       only: Kendall 1945, https://doi.org/10.1093/biomet/33.3.239
    c  2 (P - Q) / (n^2 (m - 1) / m), m the smaller number of distinct values:
       Stuart 1953, https://doi.org/10.1093/biomet/40.1-2.105

    A pair of samples counts as often as the product of their weights; the copies of
    one sample tie in both.  0 if either is constant.
    """
    x, y, weights = _samples(y_true, y_pred, sample_weight)
    if len(set(x)) < 2 or len(set(y)) < 2:
        return 0.0
    concordant = 0.0
    discordant = 0.0
    tied_x_only = 0.0
    tied_y_only = 0.0
    for i in range(len(x)):
        for j in range(i):
            pairs = weights[i] * weights[j]
            if x[i] == x[j] and y[i] == y[j]:
                continue
            if x[i] == x[j]:
                tied_x_only += pairs
            elif y[i] == y[j]:
                tied_y_only += pairs
            elif (x[i] < x[j]) == (y[i] < y[j]):
                concordant += pairs
            else:
                discordant += pairs
    if variant == "b":
        untied = concordant + discordant
        scale = math.sqrt(untied + tied_x_only) * math.sqrt(untied + tied_y_only)
        return (concordant - discordant) / scale
    if variant == "c":
        m = min(len(set(x)), len(set(y)))
        scale = sum(weights) ** 2 * (m - 1) / m
        return 2.0 * (concordant - discordant) / scale
    raise ValueError(f"unknown variant {variant!r}")


def _average_precision_of_one(
    true: np.ndarray, scores: np.ndarray, weights: np.ndarray
) -> float:
    """sum_k (R_k - R_{k-1}) P_k over the distinct scores, from the highest down."""
    counted = [i for i in range(len(true)) if weights[i] != 0]
    positives = sum(weights[i] for i in counted if true[i] == 1)
    if positives == 0:
        return 0.0
    result = 0.0
    previous_recall = 0.0
    for threshold in sorted({scores[i] for i in counted}, reverse=True):
        selected = [i for i in counted if scores[i] >= threshold]
        right = sum(weights[i] for i in selected if true[i] == 1)
        recall = right / positives
        precision = right / sum(weights[i] for i in selected)
        result += (recall - previous_recall) * precision
        previous_recall = recall
    return float(result)


def average_precision(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    num_labels: int = 1,
    *,
    average: str | None = "macro",
    sample_weight: np.ndarray | None = None,
) -> float | np.ndarray:
    """Average the precision at every gain of recall; equal scores come together.

    One value a label: their mean ("macro"), their mean weighted by the labels'
    positives ("weighted") or all of them (None); or all entries as of one label
    ("micro").  A label without positives has 0.
    """
    true = np.asarray(y_true, dtype=np.float64).reshape(-1, num_labels)
    scores = np.asarray(y_pred, dtype=np.float64).reshape(-1, num_labels)
    if sample_weight is None:
        weights = np.ones(len(true))
    else:
        weights = np.asarray(sample_weight, dtype=np.float64).reshape(-1)
    if len(weights) != len(true):
        raise ValueError(f"{len(weights)} weights of {len(true)} samples")
    if average == "micro":
        every = np.repeat(weights, num_labels)
        return _average_precision_of_one(true.reshape(-1), scores.reshape(-1), every)
    values = []
    supports = []
    for label in range(num_labels):
        values.append(
            _average_precision_of_one(true[:, label], scores[:, label], weights)
        )
        supports.append(float(sum(weights[true[:, label] == 1])))
    if average is None:
        return np.array(values)
    if average == "macro":
        return sum(values) / num_labels
    if average == "weighted":
        if sum(supports) == 0:
            return 0.0
        products = [v * s for v, s in zip(values, supports, strict=True)]
        return sum(products) / sum(supports)
    raise ValueError(f"unknown average {average!r}")

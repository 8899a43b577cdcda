"""Metrics of classes and of several labels, one sample at a time."""

import math
from collections.abc import Sequence

import numpy as np


def _classes(y: np.ndarray, sparse: bool) -> list[int]:
    """Return one class per sample: the labels, or the (first) largest entry."""
    y = np.asarray(y)
    if sparse:
        return [int(label) for label in y.reshape(-1)]
    return [int(row.argmax()) for row in y.reshape(-1, y.shape[-1])]


def _spread(sample_weight: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    """Give every entry of `shape` its sample's weight: missing axes are the last."""
    if sample_weight is None:
        return np.ones(shape)
    weights = np.asarray(sample_weight, dtype=np.float64)
    while weights.ndim < len(shape):
        weights = weights[..., np.newaxis]
    while weights.ndim > len(shape):
        weights = weights.squeeze(axis=-1)
    return np.broadcast_to(weights, shape)


def _ratio(numerator: float, denominator: float) -> float:
    """Divide, with 0 / 0 = 0."""
    return float(numerator / denominator) if denominator != 0 else 0.0


def _counts(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    num_classes: int,
    sparse_y_true: bool,
    sparse_y_pred: bool,
    ignore_class: int | None,
    sample_weight: np.ndarray | None,
) -> np.ndarray:
    """Sum the weights of every pair of classes (true, predicted)."""
    true = _classes(y_true, sparse_y_true)
    predicted = _classes(y_pred, sparse_y_pred)
    if len(true) != len(predicted):
        raise ValueError(f"{len(true)} labels, {len(predicted)} predictions")
    if sample_weight is None:
        weights = np.ones(len(true))
    else:
        shape = np.shape(y_true) if sparse_y_true else np.shape(y_true)[:-1]
        weights = _spread(sample_weight, shape).reshape(-1)
    counts = np.zeros((num_classes, num_classes))
    for i, j, weight in zip(true, predicted, weights, strict=True):
        if i == ignore_class or weight == 0:
            continue
        if not (0 <= i < num_classes and 0 <= j < num_classes):
            raise ValueError(f"classes {i}, {j} of {num_classes}")
        counts[i, j] += weight
    return counts


def confusion_matrix(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    num_classes: int,
    *,
    normalize: str | None = None,
    sparse_y_true: bool = True,
    sparse_y_pred: bool = False,
    ignore_class: int | None = None,
    sample_weight: np.ndarray | None = None,
) -> np.ndarray:
    """Sum the weights of pairs of classes, rows true, columns predicted.

    `normalize` divides an entry by the sum of its row ("true"), of its column
    ("pred") or of all entries ("all"); 0 / 0 = 0.
    """
    counts = _counts(
        y_true,
        y_pred,
        num_classes,
        sparse_y_true,
        sparse_y_pred,
        ignore_class,
        sample_weight,
    )
    result = np.zeros((num_classes, num_classes))
    for i in range(num_classes):
        for j in range(num_classes):
            if normalize is None:
                result[i, j] = counts[i, j]
            elif normalize == "true":
                result[i, j] = _ratio(counts[i, j], counts[i, :].sum())
            elif normalize == "pred":
                result[i, j] = _ratio(counts[i, j], counts[:, j].sum())
            elif normalize == "all":
                result[i, j] = _ratio(counts[i, j], counts.sum())
            else:
                raise ValueError(f"unknown normalization {normalize!r}")
    return result


def matthews_correlation_coefficient(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    num_classes: int,
    *,
    sparse_y_true: bool = True,
    sparse_y_pred: bool = False,
    ignore_class: int | None = None,
    sample_weight: np.ndarray | None = None,
) -> float:
    """Correlate two assignments to classes: R_K, which is Matthews's for K = 2.

    Gorodkin 2004, https://doi.org/10.1016/j.compbiolchem.2004.09.006, equation 8;
    Matthews 1975, https://doi.org/10.1016/0005-2795(75)90109-9.  0 / 0 = 0.
    """
    c = _counts(
        y_true,
        y_pred,
        num_classes,
        sparse_y_true,
        sparse_y_pred,
        ignore_class,
        sample_weight,
    )
    classes = range(num_classes)
    covariance = 0.0
    for k in classes:
        for i in classes:
            for m in classes:
                covariance += c[k, k] * c[i, m] - c[k, i] * c[m, k]
    spread_true = 0.0
    spread_predicted = 0.0
    for k in classes:
        others = [j for j in classes if j != k]
        spread_true += c[k, :].sum() * sum(c[j, :].sum() for j in others)
        spread_predicted += c[:, k].sum() * sum(c[:, j].sum() for j in others)
    return _ratio(covariance, math.sqrt(spread_true) * math.sqrt(spread_predicted))


def balanced_accuracy(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    num_classes: int,
    *,
    adjusted: bool = False,
    sparse_y_true: bool = True,
    sparse_y_pred: bool = False,
    ignore_class: int | None = None,
    sample_weight: np.ndarray | None = None,
) -> float:
    """Average the recall of the classes that are present among the true ones.

    Brodersen et al. 2010, https://doi.org/10.1109/ICPR.2010.764, section II.
    `adjusted` puts chance at 0: (b - 1 / K) / (1 - 1 / K) of K classes present,
    and 0 for K = 1, of which chance gets all.
    """
    counts = _counts(
        y_true,
        y_pred,
        num_classes,
        sparse_y_true,
        sparse_y_pred,
        ignore_class,
        sample_weight,
    )
    recalls = []
    for k in range(num_classes):
        present = counts[k, :].sum()
        if present > 0:
            recalls.append(counts[k, k] / present)
    if not recalls:
        return 0.0
    accuracy = sum(recalls) / len(recalls)
    if not adjusted:
        return float(accuracy)
    if len(recalls) == 1:
        return 0.0
    chance = 1.0 / len(recalls)
    return float((accuracy - chance) / (1.0 - chance))


def _truth(value: float) -> bool:
    """Read one 0 or 1."""
    if value not in (0, 1):
        raise ValueError(f"label {value} is neither 0 nor 1")
    return bool(value)


def multi_label_confusion_matrix(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    num_labels: int,
    *,
    threshold: float = 0.5,
    sample_weight: np.ndarray | None = None,
) -> np.ndarray:
    """Count [[tn, fp], [fn, tp]] of every label; predicted is what is > threshold."""
    true = np.asarray(y_true, dtype=np.float64)
    predicted = np.asarray(y_pred, dtype=np.float64)
    weights = _spread(sample_weight, true.shape[:-1])
    counts = np.zeros((num_labels, 2, 2))
    for sample in np.ndindex(*true.shape[:-1]):
        if weights[sample] == 0:
            continue
        for label in range(num_labels):
            is_true = _truth(true[(*sample, label)])
            is_predicted = predicted[(*sample, label)] > threshold
            counts[label, int(is_true), int(is_predicted)] += weights[sample]
    return counts


def hamming_loss(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    threshold: float = 0.5,
    sample_weight: np.ndarray | None = None,
) -> float:
    """Return the share of all labels of all samples that are predicted wrongly.

    Schapire & Singer 2000, https://doi.org/10.1023/A:1007649029923, section 3.
    """
    true = np.asarray(y_true, dtype=np.float64)
    predicted = np.asarray(y_pred, dtype=np.float64)
    weights = _spread(sample_weight, true.shape[:-1])
    wrong = 0.0
    total = 0.0
    for sample in np.ndindex(*true.shape[:-1]):
        if weights[sample] == 0:
            continue
        for label in range(true.shape[-1]):
            is_true = _truth(true[(*sample, label)])
            is_predicted = bool(predicted[(*sample, label)] > threshold)
            wrong += weights[sample] * (is_true != is_predicted)
            total += weights[sample]
    return _ratio(wrong, total)


def exact_match(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    threshold: float | None = 0.5,
    sample_weight: np.ndarray | None = None,
) -> float:
    """Return the share of samples of which every entry of the last axis is right.

    An entry is predicted if it is > `threshold`; without a threshold both are
    integer labels, right where they are equal.
    """
    true = np.asarray(y_true, dtype=np.float64)
    predicted = np.asarray(y_pred, dtype=np.float64)
    weights = _spread(sample_weight, true.shape[:-1])
    right = 0.0
    total = 0.0
    for sample in np.ndindex(*true.shape[:-1]):
        if weights[sample] == 0:
            continue
        all_right = True
        for entry in range(true.shape[-1]):
            t = true[(*sample, entry)]
            p = predicted[(*sample, entry)]
            same = t == p if threshold is None else _truth(t) == bool(p > threshold)
            all_right = all_right and bool(same)
        right += weights[sample] * all_right
        total += weights[sample]
    return _ratio(right, total)


def specificity(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    thresholds: float | Sequence[float] = 0.5,
    *,
    class_id: int | None = None,
    sample_weight: np.ndarray | None = None,
) -> float | np.ndarray:
    """Return tn / (tn + fp) of all elements, or of one entry of the last axis.

    An element is predicted if it is > the threshold; several thresholds give a
    vector.  0 / 0 = 0.
    """
    true = np.asarray(y_true, dtype=np.float64)
    predicted = np.asarray(y_pred, dtype=np.float64)
    weights = _spread(sample_weight, true.shape)
    several = [float(t) for t in np.atleast_1d(np.asarray(thresholds, np.float64))]
    results = []
    for threshold in several:
        negatives = 0.0
        true_negatives = 0.0
        for index in np.ndindex(*true.shape):
            if class_id is not None and index[-1] != class_id:
                continue
            if weights[index] == 0 or _truth(true[index]):
                continue
            negatives += weights[index]
            if not predicted[index] > threshold:
                true_negatives += weights[index]
        results.append(_ratio(true_negatives, negatives))
    return results[0] if np.ndim(thresholds) == 0 else np.array(results)

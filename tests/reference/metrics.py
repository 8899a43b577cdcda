"""Metrics, one sample at a time."""

import numpy as np


def _weights(sample_weight: np.ndarray | None, count: int) -> list[float]:
    """Return one weight per sample, 1 unless told otherwise."""
    if sample_weight is None:
        return [1.0] * count
    weights = [float(weight) for weight in np.asarray(sample_weight).reshape(-1)]
    if len(weights) != count:
        raise ValueError(f"{len(weights)} weights of {count} samples")
    return weights


def confusion_matrix(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    num_classes: int,
    sample_weight: np.ndarray | None = None,
) -> np.ndarray:
    """Sum the weights of every pair of classes: rows are true, columns predicted."""
    true = np.asarray(y_true).reshape(-1)
    predicted = np.asarray(y_pred).reshape(-1)
    weights = _weights(sample_weight, len(true))
    matrix = np.zeros((num_classes, num_classes))
    for i, j, weight in zip(true, predicted, weights, strict=True):
        matrix[int(i), int(j)] += weight
    return matrix


def cohen_kappa(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    num_classes: int,
    weights: str | None = None,
    sample_weight: np.ndarray | None = None,
) -> float:
    """Return the agreement of two raters beyond what chance gives them.

    kappa = 1 - sum_ij w_ij o_ij / sum_ij w_ij e_ij

    o_ij is the share of the pair (i, j), e_ij = (sum_j o_ij) (sum_i o_ij) the share
    two independent raters would give it, and w_ij the price of the disagreement:
    1 off the diagonal (Cohen 1960, https://doi.org/10.1177/001316446002000104), or
    |i - j| for "linear" and (i - j)^2 for "quadratic" weights (Cohen 1968,
    https://doi.org/10.1037/h0026256).

    If chance cannot disagree either, or nothing was rated, kappa is 0 / 0: NaN.
    """
    matrix = confusion_matrix(y_true, y_pred, num_classes, sample_weight)
    total = matrix.sum()
    if total == 0:
        return float("nan")
    observed = matrix / total
    observed_price = 0.0
    expected_price = 0.0
    for i in range(num_classes):
        for j in range(num_classes):
            if weights is None:
                price = 0 if i == j else 1
            elif weights == "linear":
                price = abs(i - j)
            elif weights == "quadratic":
                price = (i - j) ** 2
            else:
                raise ValueError(f"unknown weights {weights!r}")
            expected = observed[i, :].sum() * observed[:, j].sum()
            observed_price += price * observed[i, j]
            expected_price += price * expected
    if expected_price == 0:
        return float("nan")
    return float(1.0 - observed_price / expected_price)


def expected_calibration_error(
    labels: np.ndarray,
    probabilities: np.ndarray,
    num_bins: int = 15,
    sample_weight: np.ndarray | None = None,
) -> float:
    """Return how far confidence is from accuracy, averaged over bins of confidence.

    ECE = sum_m |B_m| / n |acc(B_m) - conf(B_m)|

    A sample's confidence is its largest probability, its prediction the (first)
    class that has it; B_m holds the confidences in ((m - 1) / M, m / M], the first
    bin 0 too.  Sample weights replace counts.  Guo et al. 2017,
    https://arxiv.org/abs/1706.04599, equation 3.
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    true = np.asarray(labels).reshape(-1)
    weights = _weights(sample_weight, len(true))
    confidences = [float(row.max()) for row in probabilities]
    corrects = [
        float(int(row.argmax()) == int(label))
        for row, label in zip(probabilities, true, strict=True)
    ]
    error = 0.0
    for m in range(1, num_bins + 1):
        size = 0.0
        accuracy = 0.0
        confidence = 0.0
        for c, correct, weight in zip(confidences, corrects, weights, strict=True):
            above = c > (m - 1) / num_bins or m == 1
            below = c <= m / num_bins or m == num_bins  # 1 + rounding is the last's
            if above and below:
                size += weight
                accuracy += weight * correct
                confidence += weight * c
        if size > 0:
            gap = abs(accuracy / size - confidence / size)
            error += size / sum(weights) * gap
    return error

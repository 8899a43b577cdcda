"""Means of values, and metrics of probabilities, one sample at a time."""

import math
from fractions import Fraction

import numpy as np


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


def _softmax(logits: np.ndarray) -> np.ndarray:
    """exp(z_i) / sum_j exp(z_j), the largest logit first subtracted from all."""
    exponentials = [math.exp(z - float(max(logits))) for z in logits]
    return np.array([e / sum(exponentials) for e in exponentials])


def _present(
    values: np.ndarray, sample_weight: np.ndarray | None
) -> list[tuple[float, float]]:
    """Pair every value with its weight, those of weight 0 left out."""
    values = np.asarray(values, dtype=np.float64)
    weights = _spread(sample_weight, values.shape)
    pairs = []
    for index in np.ndindex(*values.shape):
        if weights[index] == 0:
            continue
        if values[index] < 0:
            raise ValueError(f"negative value {values[index]}")
        pairs.append((float(values[index]), float(weights[index])))
    return pairs


def geometric_mean(
    values: np.ndarray, *, sample_weight: np.ndarray | None = None
) -> float:
    """exp(sum_i w_i log v_i / sum_i w_i); one zero makes it 0, and so does nothing."""
    pairs = _present(values, sample_weight)
    if not pairs or any(value == 0 for value, _ in pairs):
        return 0.0
    logarithms = sum(weight * math.log(value) for value, weight in pairs)
    return math.exp(logarithms / sum(weight for _, weight in pairs))


def harmonic_mean(
    values: np.ndarray, *, sample_weight: np.ndarray | None = None
) -> float:
    """sum_i w_i / sum_i (w_i / v_i); one zero makes it 0, and so does nothing."""
    pairs = _present(values, sample_weight)
    if not pairs or any(value == 0 for value, _ in pairs):
        return 0.0
    reciprocals = sum(weight / value for value, weight in pairs)
    return sum(weight for _, weight in pairs) / reciprocals


def brier_score(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    from_logits: bool = False,
    sparse_y_true: bool = True,
    ignore_class: int | None = None,
    sample_weight: np.ndarray | None = None,
) -> float:
    """Average sum_c (p_c - 1[y = c])^2 over the samples.

    Brier 1950, https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2,
    equation 2.  Of one column (or of rank 1), the probability p of class 1, it is
    (p - y)^2, half of what the two columns 1 - p and p give.
    """
    predicted = np.asarray(y_pred, dtype=np.float64)
    if predicted.ndim == 1:
        predicted = predicted[:, np.newaxis]
    columns = predicted.shape[-1]
    weights = _spread(sample_weight, predicted.shape[:-1]).reshape(-1)
    rows = predicted.reshape(-1, columns)
    # Labels (and the truth of one column) are one a sample, distributions a row.
    sparse = sparse_y_true or columns == 1
    true = np.asarray(y_true).reshape(-1, 1 if sparse else columns)
    total = 0.0
    weight_sum = 0.0
    for t, row, weight in zip(true, rows, weights, strict=True):
        if weight == 0:
            continue
        if sparse_y_true and ignore_class is not None and t[0] == ignore_class:
            continue
        if columns == 1:
            p = (1.0 + math.tanh(row[0] / 2.0)) / 2.0 if from_logits else row[0]
            score = (p - float(t[0])) ** 2
        else:
            probabilities = _softmax(row) if from_logits else row
            score = 0.0
            for c in range(columns):
                truth = float(int(t[0]) == c) if sparse_y_true else float(t[c])
                score += (probabilities[c] - truth) ** 2
        total += weight * score
        weight_sum += weight
    return float(total / weight_sum) if weight_sum else 0.0


def perplexity(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    from_logits: bool = False,
    ignore_class: int | None = None,
    sample_weight: np.ndarray | None = None,
    epsilon: float = 1e-7,
) -> float:
    """exp of the mean of -log p_y over the samples; 0 of none.

    Jelinek et al. 1977, https://doi.org/10.1121/1.2016299.  Probabilities are
    clipped to [epsilon, 1 - epsilon], logits are not.
    """
    predicted = np.asarray(y_pred, dtype=np.float64)
    rows = predicted.reshape(-1, predicted.shape[-1])
    weights = _spread(sample_weight, predicted.shape[:-1]).reshape(-1)
    labels = np.asarray(y_true).reshape(-1)
    total = 0.0
    weight_sum = 0.0
    for label, row, weight in zip(labels, rows, weights, strict=True):
        if weight == 0 or (ignore_class is not None and label == ignore_class):
            continue
        if from_logits:
            largest = float(row.max())
            normalizer = sum(math.exp(z - largest) for z in row)
            loss = math.log(normalizer) + largest - float(row[int(label)])
        else:
            loss = -math.log(min(max(float(row[int(label)]), epsilon), 1.0 - epsilon))
        total += weight * loss
        weight_sum += weight
    return math.exp(total / weight_sum) if weight_sum else 0.0


def _equal_width_bin(confidence: float, num_bins: int) -> int:
    """Return the m of 1 .. M whose ((m - 1) / M, m / M] holds it; the first has 0."""
    for m in range(1, num_bins + 1):
        if confidence <= m / num_bins:
            return m
    return num_bins  # 1 + rounding is the last's


def _equal_mass_bins(
    confidences: list[float], weights: list[float], num_bins: int
) -> list[int]:
    """Return the bin of every sample, as many (by weight) to every bin.

    In order of confidence, the earlier sample first of equals, a sample of weight w
    reaches from share s to share s + w / total; its bin is the m of 1 .. M with the
    middle s + w / (2 total) in ((m - 1) / M, m / M], here in exact fractions.
    """
    order = sorted(range(len(weights)), key=lambda i: confidences[i])  # stable
    total = sum(Fraction(weight) for weight in weights)
    bins = [0] * len(weights)
    before = Fraction(0)
    for i in order:
        middle = (before + Fraction(weights[i]) / 2) / total
        bins[i] = math.ceil(middle * num_bins)
        before += Fraction(weights[i])
    return bins


def expected_calibration_error(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    num_bins: int = 15,
    *,
    binning: str = "equal_width",
    norm: str = "l1",
    ignore_class: int | None = None,
    sample_weight: np.ndarray | None = None,
) -> float:
    """Return how far confidence is from accuracy over bins B_m of confidence.

    With share_m = |B_m| / n and gap_m = |acc(B_m) - conf(B_m)| of the bins that
    hold something, weights replacing counts:

    l1   sum_m share_m gap_m            Guo et al. 2017, 1706.04599, equation 3
    l2   sqrt(sum_m share_m gap_m^2)    Kumar et al. 2019, 1909.10155, definition 2.1
    max  max_m gap_m                    Naeini et al. 2015; Guo et al., equation 5

    Bins of equal width are those of Guo et al., of equal mass those of Nguyen &
    O'Connor 2015 (D15-1182) and Nixon et al. 2019 (1904.01685).
    """
    predicted = np.asarray(y_pred, dtype=np.float64)
    rows = predicted.reshape(-1, predicted.shape[-1])
    all_weights = _spread(sample_weight, predicted.shape[:-1]).reshape(-1)
    labels = np.asarray(y_true).reshape(-1)
    confidences: list[float] = []
    corrects: list[float] = []
    weights: list[float] = []
    for label, row, weight in zip(labels, rows, all_weights, strict=True):
        if weight == 0 or (ignore_class is not None and label == ignore_class):
            continue
        confidences.append(float(row.max()))
        corrects.append(float(int(row.argmax()) == int(label)))
        weights.append(float(weight))
    if not weights:
        return 0.0
    if binning == "equal_width":
        bins = [_equal_width_bin(c, num_bins) for c in confidences]
    elif binning == "equal_mass":
        bins = _equal_mass_bins(confidences, weights, num_bins)
    else:
        raise ValueError(f"unknown binning {binning!r}")
    shares = []
    gaps = []
    for m in range(1, num_bins + 1):
        members = [i for i in range(len(bins)) if bins[i] == m]
        if not members:
            continue
        size = sum(weights[i] for i in members)
        accuracy = sum(weights[i] * corrects[i] for i in members) / size
        confidence = sum(weights[i] * confidences[i] for i in members) / size
        shares.append(size / sum(weights))
        gaps.append(abs(accuracy - confidence))
    if norm == "l1":
        return sum(share * gap for share, gap in zip(shares, gaps, strict=True))
    if norm == "l2":
        squares = [share * gap**2 for share, gap in zip(shares, gaps, strict=True)]
        return math.sqrt(sum(squares))
    if norm == "max":
        return max(gaps)
    raise ValueError(f"unknown norm {norm!r}")

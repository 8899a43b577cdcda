"""Classification losses, one sample (label, pixel) at a time; the sparsemax.

`poly`, `sparse_categorical_crossentropy`, `sparsemax_loss` and `lovasz_softmax` return
two arrays: the values, and whether the mean counts them.  No probability is clipped:
a target on probability 0 has the loss infinity.
"""

import itertools
import math

import numpy as np

Result = tuple[np.ndarray, np.ndarray]


def asymmetric(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    gamma_negative: float = 4.0,
    gamma_positive: float = 1.0,
    clip: float = 0.05,
    from_logits: bool = False,
) -> np.ndarray:
    """Average -[y (1-p)^g+ log p + (1-y) p_m^g- log(1 - p_m)] over the last axis.

    p_m = max(p - clip, 0).  Ridnik et al. 2021, https://arxiv.org/abs/2009.14119,
    section 2.
    """
    true = np.asarray(y_true, np.float64)
    predicted = np.asarray(y_pred, np.float64)
    if true.shape != predicted.shape:
        raise ValueError(f"{true.shape} labels of {predicted.shape} predictions")
    values = np.zeros(true.shape)
    for index in np.ndindex(*true.shape):
        y, x = true[index], float(predicted[index])
        p, not_p = (_sigmoid(x), _sigmoid(-x)) if from_logits else (x, 1.0 - x)
        p_m = max(p - clip, 0.0)
        not_p_m = min(not_p + clip, 1.0)
        positive = y * not_p**gamma_positive * _log(p) if y != 0 else 0.0
        negative = (1.0 - y) * p_m**gamma_negative * _log(not_p_m) if y != 1 else 0.0
        values[index] = -positive - negative
    return values.sum(axis=-1) / values.shape[-1]


def poly(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    epsilon: float = 1.0,
    from_logits: bool = False,
    sparse_y_true: bool = True,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Result:
    """-sum_c y_c log p_c + epsilon (1 - sum_c y_c p_c).

    Leng et al. 2022, https://arxiv.org/abs/2204.12511, "Poly-1".
    """
    targets, rows, counts = _samples(y_true, y_pred, sparse_y_true, ignore_class, axis)
    values = np.zeros(counts.shape)
    for index in np.ndindex(*counts.shape):
        if counts[index]:
            p, log_p = _probabilities(rows[index], from_logits)
            p_t = float(np.sum(targets[index] * p))
            crossentropy = _crossentropy(targets[index], log_p)
            values[index] = crossentropy + epsilon * (1.0 - p_t)
    return values, counts


def sparse_categorical_crossentropy(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    label_smoothing: float = 0.0,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Result:
    """-sum_c t_c log p_c, t = (1 - s) one_hot + s / classes.

    Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, section 7.
    """
    targets, rows, counts = _samples(y_true, y_pred, True, ignore_class, axis)
    classes = rows.shape[-1]
    values = np.zeros(counts.shape)
    for index in np.ndindex(*counts.shape):
        if counts[index]:
            _, log_p = _probabilities(rows[index], from_logits)
            smooth = (1.0 - label_smoothing) * targets[index]
            smooth = smooth + label_smoothing / classes
            values[index] = _crossentropy(smooth, log_p)
    return values, counts


def weighted_kappa(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    num_classes: int,
    weights: str = "quadratic",
    from_logits: bool = False,
    sample_weight: np.ndarray | None = None,
) -> np.ndarray:
    """sum_j w[t_i, j] p[i, j] / E, E its numerator's mean over labels i, predictions k.

    De la Torre, Puig & Valls 2018, https://doi.org/10.1016/j.patrec.2017.05.018,
    before the logarithm: the mean is 1 - kappa.  Weight-0 samples are absent
    from E; other weights multiply the value only.
    """
    labels = [int(label) for label in np.asarray(y_true).reshape(-1)]
    rows = np.asarray(y_pred, np.float64)
    if rows.shape != (len(labels), num_classes):
        raise ValueError(f"{len(labels)} labels of the predictions {rows.shape}")
    sample_weights = [1.0] * len(labels)
    if sample_weight is not None:
        sample_weights = [float(w) for w in np.asarray(sample_weight).reshape(-1)]
    probabilities = [_probabilities(row, from_logits)[0] for row in rows]
    present = [i for i in range(len(labels)) if sample_weights[i] != 0]

    expected = 0.0
    for i in present:
        for k in present:
            for j in range(num_classes):
                price = _price(labels[i], j, weights)
                expected += price * probabilities[k][j] / len(present) ** 2
    values = np.zeros(len(labels))
    for i in present:
        observed = 0.0
        for j in range(num_classes):
            observed += _price(labels[i], j, weights) * probabilities[i][j]
        if expected > 0:
            values[i] = sample_weights[i] * observed / expected
    return values


def sparsemax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the nearest probability distribution to the vectors along `axis`.

    For every possible support S, the nearest with the sum 1 that is 0 elsewhere is
    x_S - (sum x_S - 1) / |S|; the nearest of those without negative entries is it.
    Martins & Astudillo 2016, https://arxiv.org/abs/1602.02068, equation 2.
    """
    rows = np.moveaxis(np.asarray(x, np.float64), axis, -1)
    result = np.zeros(rows.shape)
    for index in np.ndindex(*rows.shape[:-1]):
        result[index] = _nearest_distribution(rows[index])
    return np.moveaxis(result, -1, axis)


def sparsemax_loss(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    sparse_y_true: bool = True,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Result:
    """-z_t + 1/2 sum_{j in S} (z_j^2 - tau^2) + 1/2, S the support of sparsemax(z).

    Of a distribution q: (||q - z||^2 - ||sparsemax(z) - z||^2) / 2.  Martins &
    Astudillo 2016, https://arxiv.org/abs/1602.02068, section 3.
    """
    targets, rows, counts = _samples(y_true, y_pred, sparse_y_true, ignore_class, axis)
    values = np.zeros(counts.shape)
    for index in np.ndindex(*counts.shape):
        if not counts[index]:
            continue
        z, q = rows[index], targets[index]
        p = _nearest_distribution(z)
        if sparse_y_true:
            support = [float(z[j]) for j in range(len(z)) if p[j] > 0]
            tau = (sum(support) - 1.0) / len(support)
            value = 0.5 - float(z[q == 1][0])
            for z_j in support:
                value += (z_j**2 - tau**2) / 2.0
            values[index] = value
        else:
            values[index] = (np.sum((q - z) ** 2) - np.sum((p - z) ** 2)) / 2.0
    return values, counts


def lovasz_softmax(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    classes: str = "present",
    from_logits: bool = False,
    ignore_class: int | None = None,
) -> Result:
    """Average the Lovász extension of every class's Jaccard loss over the classes.

    Per image.  Berman, Rannen Triki & Blaschko 2018, https://arxiv.org/abs/1705.08790,
    equations 6, 8, 9 and 11.
    """
    predicted = np.asarray(y_pred, np.float64)
    if predicted.ndim < 3:
        raise ValueError(f"no pixels in the shape {predicted.shape}")
    images, num_classes = predicted.shape[0], predicted.shape[-1]
    pixels = predicted.reshape(images, -1, num_classes)
    labels = np.asarray(y_true).reshape(images, -1)
    if labels.shape != pixels.shape[:-1]:
        raise ValueError(f"{labels.shape} labels of {pixels.shape[:-1]} pixels")
    values = np.zeros(images)
    counts = np.zeros(images, dtype=bool)
    for n in range(images):
        truth, probabilities = [], []
        for label, row in zip(labels[n], pixels[n], strict=True):
            if ignore_class is None or int(label) != ignore_class:
                truth.append(int(label))
                probabilities.append(_probabilities(row, from_logits)[0])
        if not truth:
            continue
        counts[n] = True
        if classes == "present":
            chosen = sorted(set(truth))
        elif classes == "all":
            chosen = list(range(num_classes))
        else:
            raise ValueError(f"unknown classes {classes!r}")
        for c in chosen:
            members = {i for i, label in enumerate(truth) if label == c}
            errors = [
                1.0 - p[c] if i in members else p[c]
                for i, p in enumerate(probabilities)
            ]
            values[n] += _lovasz_extension(errors, members) / len(chosen)
    return values, counts


def _lovasz_extension(errors: list[float], members: set[int]) -> float:
    """Sum error x growth of the Jaccard loss |M| / |members or M|, largest error first.

    M is the set of the pixels so far.  Berman et al. 2018, equations 6 (the Jaccard
    loss of a set of mistakes), 8 and 9.
    """
    order = sorted(range(len(errors)), key=lambda i: -errors[i])
    mistakes: set[int] = set()
    total = before = 0.0
    for i in order:
        mistakes.add(i)
        now = len(mistakes) / len(members | mistakes)
        total += float(errors[i]) * (now - before)
        before = now
    return total


def _nearest_distribution(z: np.ndarray) -> np.ndarray:
    """Search all supports for the nearest non-negative vector with the sum 1."""
    if len(z) > 16:
        raise ValueError(f"too many supports of {len(z)} classes to try them all")
    best, best_distance = None, math.inf
    for size in range(1, len(z) + 1):
        for support in itertools.combinations(range(len(z)), size):
            tau = (sum(float(z[j]) for j in support) - 1.0) / size
            p = np.zeros(len(z))
            for j in support:
                p[j] = float(z[j]) - tau
            distance = float(np.sum((p - z) ** 2))
            if p.min() >= 0 and distance < best_distance:
                best, best_distance = p, distance
    if best is None:
        raise ValueError(f"no distribution near {z}")
    return best


def _samples(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    sparse_y_true: bool,
    ignore_class: int | None,
    axis: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return targets and predictions, classes last, and which samples count.

    Ignored samples have the target 0 in all classes.
    """
    rows = np.moveaxis(np.asarray(y_pred, np.float64), axis, -1)
    if not sparse_y_true:
        targets = np.moveaxis(np.asarray(y_true, np.float64), axis, -1)
        if targets.shape != rows.shape:
            raise ValueError(f"targets {targets.shape} of {rows.shape}")
        return targets, rows, np.ones(rows.shape[:-1], dtype=bool)
    labels = np.asarray(y_true)
    if labels.ndim == rows.ndim:  # an axis of length 1 in place of the classes
        labels = np.squeeze(labels, axis=axis)
    if labels.shape != rows.shape[:-1]:
        raise ValueError(f"labels {labels.shape} of {rows.shape}")
    targets = np.zeros(rows.shape)
    counts = np.zeros(labels.shape, dtype=bool)
    for index in np.ndindex(*labels.shape):
        label = int(labels[index])
        if ignore_class is None or label != ignore_class:
            targets[(*index, label)] = 1.0
            counts[index] = True
    return targets, rows, counts


def _probabilities(row: np.ndarray, from_logits: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return one sample's probabilities and their logarithms."""
    if from_logits:
        largest = float(row.max())
        log_sum = math.log(math.fsum(math.exp(float(z) - largest) for z in row))
        log_p = np.array([float(z) - largest - log_sum for z in row])
        return np.exp(log_p), log_p
    return row, np.array([_log(float(p)) for p in row])


def _crossentropy(targets: np.ndarray, log_p: np.ndarray) -> float:
    """-sum_c t_c log p_c, where 0 log 0 = 0."""
    total = 0.0
    for target, value in zip(targets, log_p, strict=True):
        if target != 0:
            total -= float(target) * float(value)
    return total


def _price(i: int, j: int, weights: str) -> float:
    """Return the price of taking one class for the other."""
    if weights == "linear":
        return float(abs(i - j))
    if weights == "quadratic":
        return float((i - j) ** 2)
    raise ValueError(f"unknown weights {weights!r}")


def _sigmoid(x: float) -> float:
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    return math.exp(x) / (1.0 + math.exp(x))


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf

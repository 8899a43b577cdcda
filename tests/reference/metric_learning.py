"""Metric-learning losses, one anchor, pair and triplet at a time.

All but `contrastive` return two arrays with one entry per sample: the value, and
whether the mean counts it.  Not counted are samples of `ignore_class` and anchors
without the pairs or triplets they need.  A sample of weight 0 is nobody's pair and
its value is 0, but the mean counts it as it counts any weight-0 sample.
"""

import math
from collections.abc import Iterable

import numpy as np

Result = tuple[np.ndarray, np.ndarray]


def contrastive(
    y_true: np.ndarray, y_pred: np.ndarray, *, margin: float = 1.0
) -> np.ndarray:
    """y d^2 + (1 - y) max(margin - d, 0)^2, averaged over the last axis of several.

    Hadsell, Chopra & LeCun 2006, "Dimensionality reduction by learning an invariant
    mapping", equation 4, without its factor 1/2 and with y = 1 for a similar pair.
    """
    distances = np.asarray(y_pred, np.float64)
    similar = np.asarray(y_true, np.float64)
    if similar.shape != distances.shape:
        raise ValueError(f"{similar.shape} labels of {distances.shape} distances")
    values = np.zeros(distances.shape)
    for index in np.ndindex(*distances.shape):
        y, d = similar[index], distances[index]
        values[index] = y * d**2 + (1.0 - y) * max(margin - d, 0.0) ** 2
    if values.ndim == 1:
        return values
    return values.sum(axis=-1) / values.shape[-1]


def triplet_hard(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    margin: float = 1.0,
    distance: str = "euclidean",
    soft_margin: bool = False,
    ignore_class: int | None = None,
    sample_weight: np.ndarray | None = None,
) -> Result:
    """max(0, margin + max_p D(a, p) - min_n D(a, n)), or log(1 + exp(max - min)).

    Hermans, Beyer & Leibe 2017, https://arxiv.org/abs/1703.07737, section 2, "batch
    hard" and "soft margin".
    """
    labels, embeddings, weights = _batch(y_true, y_pred, sample_weight)
    present = _present(labels, weights, ignore_class)
    values, counts = _start(labels, weights, ignore_class)
    for a in present:
        positives, negatives = _positives_and_negatives(a, present, labels)
        if not positives or not negatives:
            continue
        farthest = max(
            _distance(embeddings[a], embeddings[p], distance) for p in positives
        )
        nearest = min(
            _distance(embeddings[a], embeddings[n], distance) for n in negatives
        )
        if soft_margin:
            value = _log_sum_exp([0.0, farthest - nearest])
        else:
            value = max(0.0, margin + farthest - nearest)
        values[a] = weights[a] * value
        counts[a] = True
    return values, counts


def triplet_semi_hard(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    margin: float = 1.0,
    distance: str = "squared_euclidean",
    ignore_class: int | None = None,
    sample_weight: np.ndarray | None = None,
) -> Result:
    """Average max(0, margin + D(a, p) - D(a, n)) over p, n the nearest beyond p.

    If no negative is farther than p, n is the farthest of all.  Schroff, Kalenichenko
    & Philbin 2015, https://arxiv.org/abs/1503.03832, sections 3.1 and 3.2.
    """
    labels, embeddings, weights = _batch(y_true, y_pred, sample_weight)
    present = _present(labels, weights, ignore_class)
    values, counts = _start(labels, weights, ignore_class)
    for a in present:
        positives, negatives = _positives_and_negatives(a, present, labels)
        if not positives or not negatives:
            continue
        to_negatives = [
            _distance(embeddings[a], embeddings[n], distance) for n in negatives
        ]
        total = 0.0
        for p in positives:
            to_positive = _distance(embeddings[a], embeddings[p], distance)
            beyond = [d for d in to_negatives if d > to_positive]
            chosen = min(beyond) if beyond else max(to_negatives)
            total += max(0.0, margin + to_positive - chosen)
        values[a] = weights[a] * total / len(positives)
        counts[a] = True
    return values, counts


def lifted_struct(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    margin: float = 1.0,
    distance: str = "euclidean",
    ignore_class: int | None = None,
    sample_weight: np.ndarray | None = None,
) -> Result:
    """Average max(0, J(i, j))^2 / 2 over the positives j of every i.

    J(i, j) = log(sum_k exp(margin - D(i, k)) + sum_l exp(margin - D(j, l))) + D(i, j)
    over the negatives k of i and l of j.  Oh Song et al. 2016,
    https://arxiv.org/abs/1511.06452, equation 4.
    """
    labels, embeddings, weights = _batch(y_true, y_pred, sample_weight)
    present = _present(labels, weights, ignore_class)
    values, counts = _start(labels, weights, ignore_class)
    for i in present:
        positives, negatives_of_i = _positives_and_negatives(i, present, labels)
        if not positives or not negatives_of_i:
            continue
        total = 0.0
        for j in positives:
            _, negatives_of_j = _positives_and_negatives(j, present, labels)
            exponents = [
                margin - _distance(embeddings[i], embeddings[k], distance)
                for k in negatives_of_i
            ]
            exponents += [
                margin - _distance(embeddings[j], embeddings[l], distance)
                for l in negatives_of_j  # noqa: E741
            ]
            between = _distance(embeddings[i], embeddings[j], distance)
            total += max(0.0, _log_sum_exp(exponents) + between) ** 2 / 2.0
        values[i] = weights[i] * total / len(positives)
        counts[i] = True
    return values, counts


def n_pairs(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    ignore_class: int | None = None,
    sample_weight: np.ndarray | None = None,
) -> Result:
    """Crossentropy of softmax_j(anchor_i . positive_j) with "same label as i".

    Sohn 2016, "Improved deep metric learning with multi-class N-pair loss objective",
    section 3.2, with equal targets for all samples of the anchor's label.
    """
    embeddings = np.asarray(y_pred, np.float64)
    labels, _, weights = _batch(y_true, embeddings, sample_weight)
    present = _present(labels, weights, ignore_class)
    values, counts = _start(labels, weights, ignore_class)
    for i in present:
        targets = [1.0 if labels[j] == labels[i] else 0.0 for j in present]
        values[i] = weights[i] * _pair_crossentropy(i, present, embeddings, targets)
        counts[i] = True
    return values, counts


def n_pairs_multilabel(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    sample_weight: np.ndarray | None = None,
) -> Result:
    """Crossentropy of softmax_j(anchor_i . positive_j) with the labels they share.

    Sohn 2016, section 3.2, with targets in proportion to the number of shared labels.
    A sample without a label is no anchor, but a negative of the others.
    """
    embeddings = np.asarray(y_pred, np.float64)
    has_label = np.asarray(y_true) != 0
    weights = _weights(sample_weight, len(embeddings))
    present = [i for i in range(len(embeddings)) if weights[i] != 0]
    values = np.zeros(len(embeddings))
    counts = np.array([bool(row.any()) for row in has_label], dtype=bool)
    for i in present:
        if not has_label[i].any():
            continue
        targets = [float(np.sum(has_label[i] & has_label[j])) for j in present]
        values[i] = weights[i] * _pair_crossentropy(i, present, embeddings, targets)
    return values, counts


def supervised_contrastive(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    temperature: float = 0.1,
    ignore_class: int | None = None,
    sample_weight: np.ndarray | None = None,
) -> Result:
    """Average -log(exp(z_a.z_p / T) / sum_k exp(z_a.z_k / T)) over the positives p.

    Over all k other than a, z the normalised embeddings `(batch, dim)` or `(batch,
    views, dim)`; a sample's value is the mean over its views.  Khosla et al. 2020,
    https://arxiv.org/abs/2004.11362, equation 2.
    """
    embeddings = np.asarray(y_pred, np.float64)
    if embeddings.ndim == 2:
        embeddings = embeddings[:, None, :]
    labels, _, weights = _batch(y_true, embeddings, sample_weight)
    present = _present(labels, weights, ignore_class)
    values, counts = _start(labels, weights, ignore_class)
    views = [(i, v) for i in present for v in range(embeddings.shape[1])]
    for i in present:
        view_values = []
        for anchor in [view for view in views if view[0] == i]:
            others = [view for view in views if view != anchor]
            positives = [view for view in others if labels[view[0]] == labels[i]]
            if not positives:
                continue
            logits = {
                k: _cosine(embeddings[anchor], embeddings[k]) / temperature
                for k in others
            }
            log_denominator = _log_sum_exp(logits.values())
            terms = [log_denominator - logits[p] for p in positives]
            view_values.append(sum(terms) / len(terms))
        if view_values:
            values[i] = weights[i] * sum(view_values) / len(view_values)
            counts[i] = True
    return values, counts


def nt_xent(
    y_true: np.ndarray | None,
    y_pred: np.ndarray,
    *,
    temperature: float = 0.1,
    sample_weight: np.ndarray | None = None,
) -> Result:
    """-log(exp(sim(i, j) / T) / sum_{k != i} exp(sim(i, k) / T)), j the other view.

    A sample's value is the mean of its two views'; `y_true` is not read.  Chen et al.
    2020, https://arxiv.org/abs/2002.05709, equation 1.
    """
    del y_true
    embeddings = np.asarray(y_pred, np.float64)
    weights = _weights(sample_weight, len(embeddings))
    views = [(n, v) for n, weight in enumerate(weights) if weight != 0 for v in (0, 1)]
    values = np.zeros(len(embeddings))
    for n, v in views:
        logits = {
            k: _cosine(embeddings[n, v], embeddings[k]) / temperature
            for k in views
            if k != (n, v)
        }
        crossentropy = _log_sum_exp(logits.values()) - logits[n, 1 - v]
        values[n] += weights[n] * crossentropy / 2.0
    return values, np.ones(len(embeddings), dtype=bool)


def _batch(
    y_true: np.ndarray, y_pred: np.ndarray, sample_weight: np.ndarray | None
) -> tuple[list[int], np.ndarray, list[float]]:
    """Return one label per sample, the embeddings and one weight per sample."""
    labels = [int(label) for label in np.asarray(y_true).reshape(-1)]
    embeddings = np.asarray(y_pred, np.float64)
    if len(labels) != len(embeddings):
        raise ValueError(f"{len(labels)} labels of {len(embeddings)} samples")
    return labels, embeddings, _weights(sample_weight, len(labels))


def _weights(sample_weight: np.ndarray | None, count: int) -> list[float]:
    """Return one weight per sample, 1 unless told otherwise."""
    if sample_weight is None:
        return [1.0] * count
    weights = [float(weight) for weight in np.asarray(sample_weight).reshape(-1)]
    if len(weights) != count:
        raise ValueError(f"{len(weights)} weights of {count} samples")
    return weights


def _present(
    labels: list[int], weights: list[float], ignore_class: int | None
) -> list[int]:
    """List the samples which have a weight and are not to be ignored."""
    return [
        i
        for i, label in enumerate(labels)
        if weights[i] != 0 and (ignore_class is None or label != ignore_class)
    ]


def _start(labels: list[int], weights: list[float], ignore_class: int | None) -> Result:
    """Return the values and counts of samples none of which has a pair yet."""
    counts = [
        weights[i] == 0 and (ignore_class is None or label != ignore_class)
        for i, label in enumerate(labels)
    ]
    return np.zeros(len(labels)), np.array(counts, dtype=bool)


def _positives_and_negatives(
    anchor: int, present: list[int], labels: list[int]
) -> tuple[list[int], list[int]]:
    """List the other samples of the anchor's label, and those of other labels."""
    positives = [i for i in present if i != anchor and labels[i] == labels[anchor]]
    negatives = [i for i in present if labels[i] != labels[anchor]]
    return positives, negatives


def _distance(x: np.ndarray, y: np.ndarray, distance: str) -> float:
    """Return the distance of two embeddings."""
    if distance == "cosine":
        return 1.0 - _cosine(x, y)
    squared = math.fsum((float(a) - float(b)) ** 2 for a, b in zip(x, y, strict=True))
    if distance == "squared_euclidean":
        return squared
    if distance == "euclidean":
        return math.sqrt(squared)
    raise ValueError(f"unknown distance {distance!r}")


def _cosine(x: np.ndarray, y: np.ndarray) -> float:
    """Return the cosine of the angle between two embeddings; that with 0 is 0."""
    norms = math.hypot(*x) * math.hypot(*y)
    return _dot(x, y) / norms if norms > 0 else 0.0


def _dot(x: np.ndarray, y: np.ndarray) -> float:
    return math.fsum(float(a) * float(b) for a, b in zip(x, y, strict=True))


def _log_sum_exp(exponents: Iterable[float]) -> float:
    """log sum_i exp(x_i); the largest x_i is taken out, so that nothing overflows."""
    exponents = list(exponents)
    largest = max(exponents)
    return largest + math.log(math.fsum(math.exp(x - largest) for x in exponents))


def _pair_crossentropy(
    i: int, present: list[int], embeddings: np.ndarray, targets: list[float]
) -> float:
    """-sum_j t_j log softmax_j(anchor_i . positive_j), t scaled to the sum 1."""
    logits = [_dot(embeddings[i, 0], embeddings[j, 1]) for j in present]
    log_denominator = _log_sum_exp(logits)
    total = sum(targets)
    return sum(
        target / total * (log_denominator - logit)
        for target, logit in zip(targets, logits, strict=True)
    )

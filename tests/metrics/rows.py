"""One row or more per metric: how to make it, and what to feed it.

`test_conformance.py` puts each through what holds for all metrics. One without a row
fails. To add one, add a row.
"""

import numpy as np

from keras_ext import metrics
from tests.pairs import PairCase, labels, logits, probabilities

_rng = np.random.default_rng(7)

_multi_hot = (_rng.uniform(size=(12, 3)) < 0.5).astype("int32")
_label_scores = _rng.uniform(size=(12, 3)).astype("float32")
_sides = _rng.uniform(20, 60, size=(12, 5, 2))
_boxes = np.concatenate(
    [_sides, 2 * _sides, _rng.integers(-1, 3, size=(12, 5, 1))], axis=-1
).astype("float32")
_detections = np.concatenate(
    [
        _boxes[..., :4] + _rng.normal(size=(12, 5, 4)),
        _boxes[..., 4:],
        _rng.uniform(size=(12, 5, 1)),
    ],
    axis=-1,
).astype("float32")

METRICS = [
    PairCase(
        lambda: metrics.AveragePrecision(capacity=12),
        labels % 2,
        probabilities[:, 1:2],
        id="AveragePrecision",
    ),
    PairCase(
        lambda: metrics.AveragePrecision(3, average=None, capacity=20),
        _multi_hot,
        _label_scores,
        id="AveragePrecision-labels",
    ),
    PairCase(
        lambda: metrics.BalancedAccuracy(4), labels, logits, id="BalancedAccuracy"
    ),
    PairCase(
        lambda: metrics.BalancedAccuracy(4, adjusted=True, sparse_y_true=False),
        np.eye(4, dtype="float32")[labels],
        probabilities,
        id="BalancedAccuracy-adjusted",
    ),
    PairCase(metrics.BrierScore, labels, probabilities, id="BrierScore"),
    PairCase(
        lambda: metrics.BrierScore(from_logits=True),
        labels[:, None] % 2,
        logits[:, :1],
        id="BrierScore-binary",
    ),
    PairCase(
        lambda: metrics.BrierScore(sparse_y_true=False),
        probabilities[::-1].copy(),
        probabilities,
        id="BrierScore-distributions",
    ),
    PairCase(lambda: metrics.CohenKappa(4), labels, logits, id="CohenKappa"),
    PairCase(
        lambda: metrics.CohenKappa(4, weights="quadratic", sparse_y_true=False),
        np.eye(4, dtype="float32")[labels],
        probabilities,
        id="CohenKappa-quadratic",
    ),
    PairCase(
        lambda: metrics.CohenKappa(4, weights="linear", sparse_y_pred=True),
        labels[:, None],
        _rng.integers(0, 4, size=(12, 1), dtype="int32"),
        id="CohenKappa-sparse",
    ),
    PairCase(
        lambda: metrics.CohenKappa(4, weights="quadratic", regression=True),
        labels[:, None],
        _rng.uniform(-0.5, 3.5, size=(12, 1)).astype("float32"),
        id="CohenKappa-regression",
    ),
    PairCase(
        lambda: metrics.CohenKappa(2),
        labels[:, None] % 2,
        probabilities[:, :1],
        id="CohenKappa-binary",
    ),
    PairCase(lambda: metrics.ConfusionMatrix(4), labels, logits, id="ConfusionMatrix"),
    PairCase(
        lambda: metrics.ConfusionMatrix(2, normalize="true"),
        labels[:, None] % 2,
        probabilities[:, :1],
        id="ConfusionMatrix-binary",
    ),
    PairCase(metrics.ExactMatch, _multi_hot, _label_scores, id="ExactMatch"),
    PairCase(
        lambda: metrics.ExactMatch(threshold=None),
        labels.reshape(6, 2) % 2,
        np.ones((6, 2), "int32"),
        id="ExactMatch-sequences",
    ),
    PairCase(
        metrics.ExpectedCalibrationError,
        labels,
        probabilities,
        id="ExpectedCalibrationError",
    ),
    PairCase(
        lambda: metrics.ExpectedCalibrationError(num_bins=5),
        labels[:, None] % 2,
        probabilities[:, :1],
        id="ExpectedCalibrationError-binary",
    ),
    PairCase(
        lambda: metrics.ExpectedCalibrationError(
            5, binning="equal_mass", norm="l2", capacity=12
        ),
        labels,
        probabilities,
        id="ExpectedCalibrationError-equal_mass",
    ),
    PairCase(
        metrics.GeometricMean,
        labels,
        probabilities,
        id="GeometricMean",
        values_only=True,
    ),
    PairCase(metrics.HammingLoss, _multi_hot, _label_scores, id="HammingLoss"),
    PairCase(
        metrics.HarmonicMean,
        labels,
        probabilities,
        id="HarmonicMean",
        values_only=True,
    ),
    PairCase(
        lambda: metrics.KendallTau(capacity=12),
        labels.astype("float32"),
        logits[:, 3:],
        id="KendallTau",
    ),
    PairCase(
        lambda: metrics.KendallTau("c", capacity=100),
        np.round(logits),
        logits[:, ::-1].copy(),
        id="KendallTau-c",
    ),
    PairCase(
        lambda: metrics.MatthewsCorrelationCoefficient(4),
        labels,
        logits,
        id="MatthewsCorrelationCoefficient",
    ),
    PairCase(
        lambda: metrics.MatthewsCorrelationCoefficient(4, sparse_y_pred=True),
        labels[:, None],
        labels[::-1, None].copy(),
        id="MatthewsCorrelationCoefficient-sparse",
    ),
    PairCase(
        lambda: metrics.MeanAveragePrecision(3, capacity=60),
        _boxes,
        _detections,
        id="MeanAveragePrecision",
    ),
    PairCase(
        lambda: metrics.MeanAveragePrecision(
            3,
            bounding_box_format="center_xywh",
            iou_thresholds=[0.9, 0.95],
            max_detections=1,
            area_range=(2000.0, 8000.0),
            capacity=100,
        ),
        np.concatenate([_boxes, _boxes[..., 4:] == 2], axis=-1).astype("float32"),
        _detections,
        id="MeanAveragePrecision-crowds",
    ),
    PairCase(
        lambda: metrics.MultiLabelConfusionMatrix(3, threshold=0.3),
        _multi_hot,
        _label_scores,
        id="MultiLabelConfusionMatrix",
    ),
    PairCase(metrics.Perplexity, labels, probabilities, id="Perplexity"),
    PairCase(
        lambda: metrics.Perplexity(from_logits=True, ignore_class=2),
        labels.reshape(6, 2),
        logits.reshape(6, 2, 4),
        id="Perplexity-sequences",
    ),
    PairCase(
        lambda: metrics.SpearmanCorrelation(capacity=12),
        labels[:, None].astype("float32"),
        logits[:, 3:],
        id="SpearmanCorrelation",
    ),
    PairCase(metrics.Specificity, _multi_hot, _label_scores, id="Specificity"),
    PairCase(
        lambda: metrics.Specificity([0.7, 0.2], class_id=1),
        _multi_hot,
        _label_scores,
        id="Specificity-thresholds",
    ),
]

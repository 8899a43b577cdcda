"""Metrics: pure functions of a batch, and the `keras.metrics.Metric` around them."""

from keras_ext.metrics.average_precision import AveragePrecision
from keras_ext.metrics.balanced_accuracy import BalancedAccuracy
from keras_ext.metrics.brier_score import BrierScore
from keras_ext.metrics.cohen_kappa import CohenKappa
from keras_ext.metrics.confusion_matrix import ConfusionMatrix
from keras_ext.metrics.exact_match import ExactMatch
from keras_ext.metrics.expected_calibration_error import ExpectedCalibrationError
from keras_ext.metrics.geometric_mean import GeometricMean
from keras_ext.metrics.hamming_loss import HammingLoss
from keras_ext.metrics.harmonic_mean import HarmonicMean
from keras_ext.metrics.kendall_tau import KendallTau
from keras_ext.metrics.matthews_correlation_coefficient import (
    MatthewsCorrelationCoefficient,
)
from keras_ext.metrics.mean_average_precision import MeanAveragePrecision
from keras_ext.metrics.multi_label_confusion_matrix import MultiLabelConfusionMatrix
from keras_ext.metrics.perplexity import Perplexity
from keras_ext.metrics.spearman_correlation import SpearmanCorrelation
from keras_ext.metrics.specificity import Specificity

__all__ = [
    "AveragePrecision",
    "BalancedAccuracy",
    "BrierScore",
    "CohenKappa",
    "ConfusionMatrix",
    "ExactMatch",
    "ExpectedCalibrationError",
    "GeometricMean",
    "HammingLoss",
    "HarmonicMean",
    "KendallTau",
    "MatthewsCorrelationCoefficient",
    "MeanAveragePrecision",
    "MultiLabelConfusionMatrix",
    "Perplexity",
    "SpearmanCorrelation",
    "Specificity",
]

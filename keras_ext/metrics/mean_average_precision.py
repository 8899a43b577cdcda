"""Mean average precision of boxes, as the COCO benchmark computes it."""

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import keras
from keras import ops

from keras_ext import _boxes, _checks
from keras_ext._boxes import BoundingBoxFormat
from keras_ext._types import Config, Tensor
from keras_ext.metrics import _box_rows, _coco, _running_sum
from keras_ext.metrics._box_rows import BoxRows
from keras_ext.metrics._sample_buffer import SampleBuffer

AreaRange: TypeAlias = Literal["small", "medium", "large"] | tuple[float, float] | None
"""Which boxes are to be found; `None` means those of any area."""

_NAME = "MeanAveragePrecision"
_IOU_THRESHOLDS = [percent / 100 for percent in range(50, 100, 5)]
_AREA_RANGES = {
    None: (0.0, math.inf),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, math.inf),
}


@keras.saving.register_keras_serializable(package="keras_ext")
class MeanAveragePrecision(keras.metrics.Metric):
    """Measures how well a detector finds boxes: AP of the COCO benchmark.

    The detections of an image choose in order of confidence: of the boxes of its class
    that are still free, each takes the one that it overlaps most, if their intersection
    over union reaches a threshold. It is then right, and otherwise wrong. With the
    detections of all images ranked by confidence, the precision after each is the share
    of right ones so far, and the recall the share of boxes found so far:

    `AP = mean over recalls r = 0, 0.01, .. 1 of max(precision where recall >= r)`

    which is 0 at recalls that are not reached. The result is the mean of `AP` over
    the thresholds and over the classes that have boxes to be found.

    Reference: T.-Y. Lin, M. Maire, S. Belongie et al., "Microsoft COCO: Common Objects
    in Context", 2014, https://arxiv.org/abs/1405.0312; the rules are those of
    pycocotools, https://github.com/cocodataset/cocoapi.

    Args:
        num_classes: Positive integer. Number of classes.
        bounding_box_format: `"xyxy"`, `"yxyx"`, `"xywh"`, `"center_xywh"` or
            `"center_yxhw"`. Which four numbers a box is, in both inputs. Default:
            `"xyxy"`.
        iou_thresholds: A number in (0, 1], or a list of them. The least intersection
            over union of a right detection. Default: `None`, which means 0.5, 0.55,
            .. 0.95. `0.5` alone gives AP50, the metric of PASCAL VOC.
        max_detections: Positive integer. Maximum number of detections that count for
            each image and class: the most confident ones. Default: 100.
        area_range: `None`, `"small"` (up to 32**2), `"medium"`, `"large"` (from 96**2)
            or a pair of areas. Boxes outside the range need not be found, and finding
            them is not wrong. Areas are in squared units of the boxes.
            Default: `None`, all boxes are to be found.
        capacity: Positive integer. How many detections are kept, since all of them are
            ranked together; those that do not count, due to `max_detections`, their
            label or their image, are not kept. The cost of a step grows with it.
            Default: 32768, which is 100 for each of 327 images.
        name: Name of the metric.
        dtype: Dtype of the result. Default: `None`, which means
            `keras.config.floatx()`.

    Call arguments:
        y_true: Boxes to be found: four coordinates, the label and, if given, 1 for a
            crowd, else 0. Rows of label -1 are padding.
        y_pred: Detections: four coordinates, the label and the confidence. Rows of
            label -1 are padding.
        sample_weight: How often each image counts, a whole number. An image of
            weight 0 counts as absent.

    Input shape:
        `y_true`: `(batch, boxes, 5)` or `(batch, boxes, 6)`. `y_pred`:
        `(batch, detections, 6)`. `sample_weight`: `(batch,)` or `(batch, 1)`.

    Output shape:
        A scalar, from 0 to 1.

    Raises:
        ValueError: If an argument is out of range; on update, if shapes do not match
            or, in eager execution, a label is not one of the classes, a number in a row
            that counts is not finite, a weight is not a whole number, or there are more
            detections than `capacity`. Compiled code cannot raise; there, the result is
            NaN, and after too many detections the next `reset_state` warns and states
            their number. A NaN in `y_pred` never raises: the result is NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.metrics import MeanAveragePrecision
    >>> metric = MeanAveragePrecision(num_classes=2)
    >>> y_true = np.array([[[0, 0, 10, 10, 0], [20, 0, 30, 10, 1]]])
    >>> y_pred = np.array([[[0, 0, 10, 9, 0, 0.8], [20, 0, 30, 10, 1, 0.7]]])
    >>> float(metric(y_true, y_pred))  # 0.9 at thresholds up to 0.9, and 1
    0.95

    Boxes, labels and confidence in a dictionary, as from KerasHub's detectors, are
    joined as follows; a model does so in its last layer, with `keras.ops`:

    >>> found = {"boxes": y_pred[..., :4], "labels": y_pred[..., 4]}
    >>> found["confidence"] = y_pred[..., 5]
    >>> rest = np.stack([found["labels"], found["confidence"]], axis=-1)
    >>> metric.update_state(y_true, np.concatenate([found["boxes"], rest], axis=-1))

    Crowds need not be found. Any number of detections may take a crowd if no other box
    is left for them, and are then ignored; their overlap with it is the intersection
    over their own area. A box outside the range of areas may be taken in the same way,
    but only once. Detections outside the range that take nothing are also ignored.
    pycocotools compares the range with the area given in the annotations, which may be
    that of a mask; here it is that of the box.

    Among equal confidences, the earlier image and the earlier row come first; among
    equal overlaps, the later box is taken. Recalls are compared as pycocotools rounds
    them, where 7 of 10 boxes do not reach the recall 0.7. If nothing is to be found in
    any class, the result is 0 (pycocotools returns -1). There is one result: for
    another range of areas, or a single threshold, use another metric.

    Masks are not used: give masked rows the label -1, and absent images the weight 0.
    Boxes need float32: half precision moves their edges and holds only small labels.
    Detections are kept at least in float32, and counted as integers.

    `result`, which Keras's `fit` calls in every step, sorts all `capacity` rows: about
    15 ms for the default on two CPU cores. Outside `compile`, it is computed only when
    called. On several replicas of `tf.distribute`, each keeps its own detections, and
    the combined result is NaN.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        bounding_box_format: BoundingBoxFormat = "xyxy",
        iou_thresholds: float | Sequence[float] | None = None,
        max_detections: int = 100,
        area_range: AreaRange = None,
        capacity: int = 32768,
        name: str | None = "mean_average_precision",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.num_classes = _checks.positive_int("num_classes", num_classes)
        self.bounding_box_format = _boxes.check_format(
            "bounding_box_format", bounding_box_format
        )
        self.iou_thresholds = _checks.optional(
            _checks.number_or_list,
            "iou_thresholds",
            iou_thresholds,
            low=0,
            high=1,
            open_low=True,
        )
        self.max_detections = _checks.positive_int("max_detections", max_detections)
        self.area_range = _check_area_range(area_range)
        self.capacity = _checks.positive_int("capacity", capacity)
        columns = 2 + len(self._thresholds())
        self._detections = SampleBuffer(self, columns, self.capacity, "detections")
        self.total, self.rest = _running_sum.add_variables(self, (self.num_classes,))

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Match the detections of a batch, and keep their outcomes."""
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        _box_rows.check_shapes(_NAME, y_true, y_pred)
        weights, sound = _box_rows.frequencies(
            _NAME, y_true, sample_weight, self._detections.dtype
        )
        options = (weights, self.num_classes, self.bounding_box_format)
        truths = _box_rows.read(_NAME, "y_true", y_true, *options)
        found = _box_rows.read(_NAME, "y_pred", y_pred, *options)
        found = _coco.most_confident(found, self.max_detections)
        verdicts, wanted = _coco.match(
            found, truths, self._thresholds(), self._limits()
        )
        self._keep(found, verdicts, weights)
        numbers = _box_rows.numbers_of_classes(
            truths, wanted, weights, self.num_classes
        )
        numbers = ops.where(sound & truths.sound & found.sound, numbers, float("nan"))
        _running_sum.accumulate(self.total, self.rest, numbers)

    def result(self) -> Tensor:
        """Return the mean average precision of all images since the last reset."""
        samples, weights = self._detections.read()
        numbers = ops.stack([self.total.value, self.rest.value])
        wrong = ops.any(ops.isnan(numbers))
        numbers = ops.cast(ops.where(wrong, 0.0, numbers), "int32")
        wanted = ops.sum(numbers, axis=0)
        precisions = _coco.average_precisions(
            samples[0], samples[1], samples[2:], weights, wanted
        )
        present = ops.cast(wanted > 0, precisions.dtype)
        precision = ops.divide_no_nan(
            ops.sum(ops.mean(precisions, axis=0) * present), ops.sum(present)
        )
        result = self._detections.checked(ops.where(wrong, float("nan"), precision))
        return ops.cast(result, self.dtype)

    def reset_state(self) -> None:
        """Discard all images; warn if there were more detections than `capacity`."""
        self._detections.warn_of_lost_samples()
        super().reset_state()

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "bounding_box_format": self.bounding_box_format,
            "iou_thresholds": self.iou_thresholds,
            "max_detections": self.max_detections,
            "area_range": self.area_range,
            "capacity": self.capacity,
        }

    def _keep(self, found: BoxRows, verdicts: Tensor, weights: Tensor) -> None:
        """Put the detections that count into the buffer, a row for each."""
        dtype = self._detections.dtype
        columns = [found.labels, found.last, *ops.unstack(verdicts, axis=1)]
        columns.append(ops.where(found.counted, ops.expand_dims(weights, axis=-1), 0.0))
        columns = [ops.reshape(ops.cast(each, dtype), (-1,)) for each in columns]
        self._detections.append(ops.stack(columns[:-1], axis=-1), columns[-1])

    def _thresholds(self) -> list[float]:
        if self.iou_thresholds is None:
            return _IOU_THRESHOLDS
        given = self.iou_thresholds
        return given if isinstance(given, list) else [given]

    def _limits(self) -> tuple[float, float]:
        given = self.area_range
        return given if isinstance(given, tuple) else _AREA_RANGES[given]


def _check_area_range(area_range: Any) -> AreaRange:
    """Return the name of a range or a pair of areas, else raise `ValueError`."""
    if area_range is None or isinstance(area_range, str):
        return _checks.one_of("area_range", area_range, tuple(_AREA_RANGES))
    if isinstance(area_range, (list, tuple)) and len(area_range) == 2:
        low = _checks.number("area_range[0]", area_range[0], low=0)
        if area_range[1] == math.inf:
            return low, math.inf
        return low, _checks.number("area_range[1]", area_range[1], low=low)
    raise ValueError(
        "`area_range` must be None, 'small', 'medium', 'large' or a pair of areas. "
        f"Received: area_range={area_range!r}"
    )

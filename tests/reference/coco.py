"""COCO's mean average precision of boxes: an image, a class, a threshold at a time.

Lin et al. 2014, https://arxiv.org/abs/1405.0312, by the rules of pycocotools's
`COCOeval` (https://github.com/cocodataset/cocoapi), named where they apply.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Box = tuple[float, float, float, float]  # left, top, right, bottom


class Truth(NamedTuple):
    """One box to be found."""

    box: Box
    crowd: bool
    ignored: bool  # a crowd, or outside the range of areas: no one need find it


class Detection(NamedTuple):
    """One box found."""

    box: Box
    confidence: float


class Verdict(NamedTuple):
    """What became of a detection: right, wrong, or neither."""

    confidence: float
    matched: bool
    ignored: bool


AREA_RANGES = {
    None: (0.0, float("inf")),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, float("inf")),
}


def corners(coordinates: Sequence[float], bounding_box_format: str) -> Box:
    """Return left, top, right and bottom of a box of one of Keras's formats."""
    a, b, c, d = (float(coordinate) for coordinate in coordinates)
    if bounding_box_format == "xyxy":
        return a, b, c, d
    if bounding_box_format == "yxyx":
        return b, a, d, c
    if bounding_box_format == "xywh":
        return a, b, a + c, b + d
    if bounding_box_format == "center_xywh":
        return a - c / 2.0, b - d / 2.0, a + c / 2.0, b + d / 2.0
    if bounding_box_format == "center_yxhw":
        return b - d / 2.0, a - c / 2.0, b + d / 2.0, a + c / 2.0
    raise ValueError(f"unknown format {bounding_box_format!r}")


def area(box: Box) -> float:
    """Width times height, neither less than 0."""
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def overlap(detection: Box, truth: Box, crowd: bool) -> float:
    """Intersection over union; over the detection's own area if it meets a crowd.

    `bbIou` of pycocotools's maskApi.c.  0 / 0 = 0.
    """
    width = min(detection[2], truth[2]) - max(detection[0], truth[0])
    height = min(detection[3], truth[3]) - max(detection[1], truth[1])
    if width <= 0 or height <= 0:
        return 0.0
    intersection = width * height
    if crowd:
        return intersection / area(detection)
    return intersection / (area(detection) + area(truth) - intersection)


def _truths(
    rows: np.ndarray, label: int, area_range: tuple[float, float], box_format: str
) -> list[Truth]:
    """Return an image's boxes of one class: 4 coordinates, label(, crowd)."""
    truths = []
    for row in rows:
        if int(row[4]) != label:
            continue
        box = corners(row[:4], box_format)
        crowd = len(row) > 5 and bool(row[5])
        outside = area(box) < area_range[0] or area(box) > area_range[1]
        truths.append(Truth(box, crowd, crowd or outside))
    return truths


def _detections(
    rows: np.ndarray, label: int, max_detections: int, box_format: str
) -> list[Detection]:
    """Return an image's most confident detections of one class, in that order.

    At most `max_detections` of every image and class; of equals the earlier first.
    """
    detections = []
    for row in rows:
        if int(row[4]) == label:
            box = corners(row[:4], box_format)
            detections.append(Detection(box, float(row[5])))
    detections.sort(key=lambda detection: -detection.confidence)  # stable
    return detections[:max_detections]


def _best(
    overlaps: list[float], candidates: list[int], iou_threshold: float
) -> int | None:
    """Return the candidate with the largest overlap >= threshold, the last of equals.

    "Is it smaller than the best so far?" is what `evaluateImg` asks, so equals go
    to the later one; the threshold is min(threshold, 1 - 1e-10) there.
    """
    best = None
    least = min(iou_threshold, 1.0 - 1e-10)
    for candidate in candidates:
        if overlaps[candidate] >= least:
            best = candidate
            least = overlaps[candidate]
    return best


def match(
    truths: list[Truth],
    detections: list[Detection],
    iou_threshold: float,
    area_range: tuple[float, float],
) -> list[Verdict]:
    """Give every detection of one image and class its verdict: `evaluateImg`.

    The detections choose in order of confidence.  Each takes the truth that it
    overlaps most of those still free and not ignored; if none reaches the
    threshold, the ignored one that it overlaps most: a crowd, which stays free for
    others, or one outside the range of areas, which does not.  Then it is ignored
    itself, as is a detection outside the range that takes nothing.
    """
    taken = [False] * len(truths)
    verdicts = []
    for detection in detections:
        overlaps = [overlap(detection.box, t.box, t.crowd) for t in truths]
        free = [g for g, t in enumerate(truths) if t.crowd or not taken[g]]
        wanted = [g for g in free if not truths[g].ignored]
        unwanted = [g for g in free if truths[g].ignored]
        chosen = _best(overlaps, wanted, iou_threshold)
        if chosen is None:
            chosen = _best(overlaps, unwanted, iou_threshold)
        if chosen is not None:
            taken[chosen] = True
            ignored = truths[chosen].ignored
        else:
            size = area(detection.box)
            ignored = size < area_range[0] or size > area_range[1]
        verdicts.append(Verdict(detection.confidence, chosen is not None, ignored))
    return verdicts


def _reaches(right: int, wanted: int, point: int, rounded: bool) -> bool:
    """Tell if the recall right / wanted reaches point / 100.

    Exactly, or as float64 rounds right / wanted and NumPy's linspace the point:
    of the points 35, 41, 47, 57, 69, 70, 82, 83, 94 and 95 linspace is a little
    above point / 100, so that a recall of exactly that much falls short of it.
    """
    if rounded:
        return bool(right / wanted >= np.linspace(0.0, 1.0, 101)[point])
    return 100 * right >= point * wanted


def interpolated_precision(
    verdicts: list[Verdict], wanted: int, rounded: bool = False
) -> float:
    """Average the precision at the recalls 0, 0.01, .. 1: `accumulate`.

    The precision at a recall is the largest at that recall or any above it, and 0
    at recalls that are never reached.  `verdicts` are of one class and threshold,
    in order of images; of equal confidences the earlier comes first.
    """
    counted = [v for v in verdicts if not v.ignored]
    counted.sort(key=lambda verdict: -verdict.confidence)  # stable
    right = 0
    curve = []  # the number of right ones and the precision after every detection
    for number, verdict in enumerate(counted, start=1):
        right += verdict.matched
        curve.append((right, right / number))
    total = 0.0
    for point in range(101):
        reached = [p for r, p in curve if _reaches(r, wanted, point, rounded)]
        total += max(reached, default=0.0)
    return total / 101


def average_precisions(
    y_true: Sequence[np.ndarray],
    y_pred: Sequence[np.ndarray],
    num_classes: int,
    *,
    bounding_box_format: str = "xyxy",
    iou_thresholds: Sequence[float] | float | None = None,
    max_detections: int = 100,
    area_range: str | tuple[float, float] | None = None,
    sample_weight: np.ndarray | None = None,
    rounded: bool = False,
) -> np.ndarray:
    """Return the average precision of every class and threshold of overlap.

    NaN for a class without anything to be found.  Images of weight 0 are absent,
    all others count once.  `rounded` compares recalls in float64 as pycocotools
    does, which can cost up to 1 / 101 of a recall such as 7 / 10: see `_reaches`.
    """
    if iou_thresholds is None:
        thresholds = [float(t) for t in np.linspace(0.5, 0.95, 10)]
    else:
        thresholds = [float(t) for t in np.atleast_1d(iou_thresholds)]
    if area_range is None or isinstance(area_range, str):
        limits = AREA_RANGES[area_range]
    else:
        limits = (float(area_range[0]), float(area_range[1]))
    images = [
        (np.asarray(truth, np.float64), np.asarray(found, np.float64))
        for number, (truth, found) in enumerate(zip(y_true, y_pred, strict=True))
        if sample_weight is None or np.reshape(sample_weight, -1)[number] != 0
    ]
    result = np.full((num_classes, len(thresholds)), np.nan)
    for label in range(num_classes):
        for number, threshold in enumerate(thresholds):
            verdicts = []
            wanted = 0
            for truth_rows, found_rows in images:
                truths = _truths(truth_rows, label, limits, bounding_box_format)
                detections = _detections(
                    found_rows, label, max_detections, bounding_box_format
                )
                wanted += sum(1 for truth in truths if not truth.ignored)
                verdicts += match(truths, detections, threshold, limits)
            if wanted > 0:
                ap = interpolated_precision(verdicts, wanted, rounded)
                result[label, number] = ap
    return result


def mean_average_precision(
    y_true: Sequence[np.ndarray],
    y_pred: Sequence[np.ndarray],
    num_classes: int,
    *,
    bounding_box_format: str = "xyxy",
    iou_thresholds: Sequence[float] | float | None = None,
    max_detections: int = 100,
    area_range: str | tuple[float, float] | None = None,
    sample_weight: np.ndarray | None = None,
    rounded: bool = False,
) -> float:
    """Average over thresholds and over classes with anything to be found: `summarize`.

    y_true are rows of 4 coordinates, label and, if any, whether it is a crowd;
    y_pred of 4 coordinates, label and confidence; rows of label -1 are padding.
    0 if there is nothing to be found at all (pycocotools says -1).
    """
    precisions = average_precisions(
        y_true,
        y_pred,
        num_classes,
        bounding_box_format=bounding_box_format,
        iou_thresholds=iou_thresholds,
        max_detections=max_detections,
        area_range=area_range,
        sample_weight=sample_weight,
        rounded=rounded,
    )
    present = precisions[~np.isnan(precisions)]
    return float(present.mean()) if present.size else 0.0


class Case(NamedTuple):
    """A case worked by hand."""

    name: str
    y_true: list[list[list[float]]]
    y_pred: list[list[list[float]]]
    options: dict[str, object]
    expected: float


# Boxes 10 wide and 10 high, unless said; moved by 1, the overlap of two of them is
# 90 / 110 = 0.818, by 2 it is 80 / 120 = 0.667, by 3 70 / 130 = 0.538.
CASES = [
    # One class, three to be found in two images.  In order of confidence:
    #   0.9  image 1, moved by 1 from A (0.818): right        1 of 1, recall 1/3
    #   0.8  image 2, nothing near:              wrong        1 of 2, recall 1/3
    #   0.7  image 1, A again, but A is taken:   wrong        1 of 3, recall 1/3
    #   0.6  image 2, C exactly:                 right        2 of 4, recall 2/3
    # B is never found.  Precision at the recalls 0 .. 0.33 (34 points) is 1, at
    # 0.34 .. 0.66 (33 points) 1/2, above that (34 points) 0:
    # AP = (34 + 33 / 2) / 101 = 50.5 / 101 = 1/2.
    Case(
        "a duplicate and a miss",
        [
            [[0, 0, 10, 10, 0], [50, 50, 60, 60, 0]],
            [[20, 0, 30, 10, 0], [0, 0, 0, 0, -1]],
        ],
        [
            [[1, 0, 11, 10, 0, 0.9], [0, 0, 10, 10, 0, 0.7]],
            [[70, 70, 80, 80, 0, 0.8], [20, 0, 30, 10, 0, 0.6]],
        ],
        {"num_classes": 1, "iou_thresholds": [0.5]},
        0.5,
    ),
    # Three classes, all ten thresholds, one image.
    #   class 0: one to be found, found moved by 1 (0.818): right at 0.5 .. 0.8,
    #            7 thresholds of 10, AP 1 there and 0 at the others: mean 0.7.
    #   class 1: two to be found.  0.9 is moved by 2 (0.667), right at 0.5 .. 0.65,
    #            4 thresholds; 0.8 is exact, right at all.
    #            Both right (4 thresholds): AP 1.  Only the second right (6
    #            thresholds): 1 of 2 at recall 1/2, 51 points (0 .. 0.5): AP
    #            51/202.  Mean (4 + 6 * 51/202) / 10 = 0.4 + 15.3/101.
    #   class 2: a detection, but nothing to be found: left out.
    # mAP = (0.7 + 0.4 + 15.3/101) / 2 = 0.55 + 7.65/101 = 0.62574..
    Case(
        "thresholds and classes",
        [[[0, 0, 10, 10, 0], [20, 0, 30, 10, 1], [40, 0, 50, 10, 1]]],
        [
            [
                [0, 0, 10, 10, 2, 0.99],
                [22, 0, 32, 10, 1, 0.9],
                [40, 0, 50, 10, 1, 0.8],
                [0, 1, 10, 11, 0, 0.7],
            ]
        ],
        {"num_classes": 3, "iou_thresholds": None},
        0.55 + 7.65 / 101,
    ),
    # A crowd of 40 x 10 and one box D to be found; threshold 0.5.
    #   0.9  inside the crowd, 100 / 100 of its own area: ignored
    #   0.8  inside the crowd too, which stays free:      ignored
    #   0.7  half inside, 50 / 100 of its own area:       ignored
    #   0.6  4 of 10 inside, 40 / 100, D not near:        wrong  0 of 1
    #   0.5  D exactly:                                   right  1 of 2, recall 1
    # AP = 1/2 at all recalls.
    Case(
        "a crowd",
        [[[0, 0, 40, 10, 0, 1], [0, 50, 10, 60, 0, 0]]],
        [
            [
                [0, 0, 10, 10, 0, 0.9],
                [5, 0, 15, 10, 0, 0.8],
                [35, 0, 45, 10, 0, 0.7],
                [36, 0, 46, 10, 0, 0.6],
                [0, 50, 10, 60, 0, 0.5],
            ]
        ],
        {"num_classes": 1, "iou_thresholds": [0.5]},
        0.5,
    ),
    # Areas 50 .. 150: E (100) is to be found, F (20 x 20 = 400) is not.
    #   0.9  F, moved by 1 (380 / 420):          takes F, ignored
    #   0.8  F again, taken; 400 is outside:     ignored
    #   0.7  5 x 5 = 25, outside, takes nothing: ignored
    #   0.6  10 x 10, inside, takes nothing:     wrong  0 of 1
    #   0.5  F's left half, 200 / 400 of F, but F is taken; 200 is outside: ignored
    #   0.4  E, 10 x 20 = 200, 100 / 200 of E:   right  1 of 2, recall 1: to take
    #        something of the range counts, whatever the detection's own area
    # AP = 1/2 at all recalls.
    Case(
        "a range of areas",
        [[[0, 0, 10, 10, 0], [100, 0, 120, 20, 0]]],
        [
            [
                [101, 0, 121, 20, 0, 0.9],
                [100, 0, 120, 20, 0, 0.8],
                [200, 0, 205, 5, 0, 0.7],
                [300, 0, 310, 10, 0, 0.6],
                [100, 0, 110, 20, 0, 0.5],
                [0, 0, 10, 20, 0, 0.4],
            ]
        ],
        {"num_classes": 1, "iou_thresholds": [0.5], "area_range": (50.0, 150.0)},
        0.5,
    ),
    # G reaches from 0 to 10, H from 4 to 14; both to be found.
    #   0.9  from 2 to 12 overlaps both alike (0.667): takes H, the later:  right
    #   0.8  from 6 to 16, H 0.667 but taken, G 40 / 160 = 0.25:            wrong
    # 1 of 1 at recall 1/2: 51 points (0 .. 0.5) of precision 1: AP = 51/101.  Had
    # the first taken G, both were right.
    Case(
        "equal overlaps",
        [[[0, 0, 10, 10, 0], [4, 0, 14, 10, 0]]],
        [[[2, 0, 12, 10, 0, 0.9], [6, 0, 16, 10, 0, 0.8]]],
        {"num_classes": 1, "iou_thresholds": [0.5]},
        51 / 101,
    ),
    # Ten to be found in one row, one detection: recall 1/10 is 11 points (0 .. 0.1)
    # of precision 1: AP = 11/101.  At most one detection an image and class counts,
    # or the second, as good, would make it 21/101.
    Case(
        "at most one detection",
        [[[20 * i, 0, 20 * i + 10, 10, 0] for i in range(10)]],
        [[[20, 0, 30, 10, 0, 0.4], [0, 0, 10, 10, 0, 0.5]]],
        {"num_classes": 1, "iou_thresholds": [0.5], "max_detections": 1},
        11 / 101,
    ),
]

"""Mean average precision against the reference, pycocotools and cases by hand."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_ext.metrics import MeanAveragePrecision
from tests.markers import needs_tensorflow
from tests.metrics.modes import JIT, in_steps, result_in_steps
from tests.reference import coco

FORMATS = ["xyxy", "yxyx", "xywh", "center_xywh", "center_yxhw"]
CLASSES = 3
DTYPES = ["float16", "bfloat16"]
if keras.backend.backend() == "tensorflow":
    DTYPES.append("float64")  # JAX has it only if it is told so
OPTIONS = {
    "COCO": {},
    "one threshold": {"iou_thresholds": 0.5},
    "other thresholds": {"iou_thresholds": [1.0, 0.3, 0.75]},
    "best of each class": {"max_detections": 1},
    "few of each class": {"max_detections": 3},
    "small": {"area_range": "small"},
    "medium": {"area_range": "medium"},
    "large": {"area_range": "large"},
    "range": {"area_range": (500.0, 3000.0)},
}


def scene(seed, images=8, boxes=6, detections=12, ties=False):
    """Return boxes to be found, some of them crowds or padding, and detections.

    Coordinates are whole numbers, so that overlaps meet thresholds exactly.
    """
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 150, size=(images, boxes, 2))
    size = np.exp(rng.uniform(np.log(12), np.log(250), size=(images, boxes, 2)))
    label = rng.integers(-1, CLASSES, size=(images, boxes, 1))
    crowd = rng.uniform(size=(images, boxes, 1)) < 0.15
    y_true = np.round(np.concatenate([corner, corner + size, label, crowd], axis=-1))
    near = rng.integers(0, boxes, size=(images, detections, 1))
    y_pred = np.take_along_axis(y_true, near, axis=1)
    y_pred[..., :4] += np.round(rng.normal(0, 4, size=(images, detections, 4)))
    y_pred[..., 2:4] = np.maximum(y_pred[..., 2:4], y_pred[..., :2])
    guessed = rng.integers(-1, CLASSES, size=(images, detections))
    wrong = rng.uniform(size=(images, detections)) < 0.2
    y_pred[..., 4] = np.where(wrong, guessed, y_pred[..., 4])
    confidence = rng.permutation(images * detections) / 128
    y_pred[..., 5] = confidence.reshape(images, detections)
    if ties:
        y_pred[..., 5] = np.round(y_pred[..., 5] * 8) / 8
    return y_true.astype("float32"), y_pred.astype("float32")


def padded(images):
    """Return lists of rows as one array."""
    rows = np.zeros((len(images), 12, 6), "float32")
    rows[..., 4] = -1
    for image, boxes in zip(rows, images, strict=True):
        for row, box in zip(image, boxes, strict=False):
            row[: len(box)] = box
    return rows


def written(boxes, bounding_box_format):
    """Return boxes given by their corners in another format."""
    left, top, right, bottom = np.moveaxis(boxes[..., :4], -1, 0)
    width, height = right - left, bottom - top
    x, y = (left + right) / 2, (top + bottom) / 2
    coordinates = {
        "xyxy": [left, top, right, bottom],
        "yxyx": [top, left, bottom, right],
        "xywh": [left, top, width, height],
        "center_xywh": [x, y, width, height],
        "center_yxhw": [y, x, height, width],
    }[bounding_box_format]
    return np.concatenate([np.stack(coordinates, axis=-1), boxes[..., 4:]], axis=-1)


def score(y_true, y_pred, sample_weight=None, num_classes=CLASSES, **options):
    metric = MeanAveragePrecision(num_classes, **{"capacity": 400, **options})
    metric.update_state(y_true, y_pred, sample_weight=sample_weight)
    return float(metric.result())


def expected(y_true, y_pred, **options):
    return coco.mean_average_precision(y_true, y_pred, CLASSES, rounded=True, **options)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "tied"])
def test_equals_the_reference(options, ties):
    data = scene(seed=5 + ties, ties=ties)
    assert score(*data, **options) == pytest.approx(
        expected(*data, **options), abs=1e-5
    )


# pycocotools 2.0.11, `COCOeval` of `scene(seed=5 + ties, ties=ties)`.
PYCOCOTOOLS = {
    (False, "COCO"): 0.268655735,
    (False, "one threshold"): 0.511322744,
    (False, "other thresholds"): 0.295547400,
    (False, "best of each class"): 0.120187019,
    (False, "few of each class"): 0.229253779,
    (False, "small"): 0.047964796,
    (False, "medium"): 0.371814414,
    (False, "large"): 0.864639321,
    (False, "range"): 0.224290429,
    (True, "COCO"): 0.306473802,
    (True, "one threshold"): 0.610795638,
    (True, "other thresholds"): 0.328381122,
    (True, "best of each class"): 0.157741631,
    (True, "few of each class"): 0.287772579,
    (True, "small"): 0.263894389,
    (True, "medium"): 0.271471005,
    (True, "large"): 0.830594059,
    (True, "range"): 0.281636021,
}


@pytest.mark.parametrize("case", PYCOCOTOOLS)
def test_equals_pycocotools(case):
    ties, name = case
    got = score(*scene(seed=5 + ties, ties=ties), **OPTIONS[name])
    assert got == pytest.approx(PYCOCOTOOLS[case], abs=1e-6)


@pytest.mark.parametrize("case", coco.CASES, ids=lambda case: case.name)
def test_cases_by_hand(case):
    got = score(padded(case.y_true), padded(case.y_pred), **case.options)
    assert got == pytest.approx(case.expected, abs=1e-6)


@pytest.mark.parametrize(
    ("found", "points"), [(3, 31), (6, 61), (7, 70), (9, 91), (10, 101)]
)
def test_a_recall_counts_where_pycocotools_reaches_it(found, points):
    # Of 10 boxes: 3 are recall 0.3, 31 points. 7 / 10 < linspace(0, 1, 101)[70].
    boxes = [[20 * i, 0, 20 * i + 10, 10, 0] for i in range(10)]
    detections = [[*box, 0.5] for box in boxes[:found]]
    got = score(padded([boxes]), padded([detections]), num_classes=1)
    assert got == pytest.approx(points / 101, abs=1e-6)


@pytest.mark.parametrize("bounding_box_format", FORMATS)
def test_formats(bounding_box_format):
    y_true, y_pred = scene(seed=7)
    options = {"area_range": "medium"}
    got = score(
        written(y_true, bounding_box_format),
        written(y_pred, bounding_box_format),
        bounding_box_format=bounding_box_format,
        **options,
    )
    assert got == pytest.approx(expected(y_true, y_pred, **options), abs=1e-5)


@pytest.mark.parametrize("jit_compile", JIT)
def test_compiled(jit_compile):
    y_true, y_pred = scene(seed=8, ties=True)
    weights = (np.arange(8) % 4 > 0).astype("float32")
    metric = MeanAveragePrecision(CLASSES, max_detections=4, capacity=300)
    batches = [
        {"y_true": y_true[part], "y_pred": y_pred[part], "sample_weight": weights[part]}
        for part in np.split(np.arange(8), 4)
    ]
    got = result_in_steps(metric, batches, jit_compile)
    kept = weights > 0
    exact = expected(y_true[kept], y_pred[kept], max_detections=4)
    assert got == pytest.approx(exact, abs=1e-5)


@needs_tensorflow  # JAX has no unknown sizes
def test_a_batch_of_any_size_of_any_number_of_boxes_in_a_graph():
    import tensorflow as tf

    metric = MeanAveragePrecision(CLASSES, capacity=400)
    shapes = [tf.TensorSpec((None, None, size), "float32") for size in (6, 6)]
    update = tf.function(metric.update_state, input_signature=shapes)
    y_true, y_pred = scene(seed=9)
    for part in (slice(0, 5), slice(5, 5), slice(5, 8)):
        update(y_true[part], y_pred[part])
    update(y_true[:2, :0], y_pred[:2, :0])
    assert float(metric.result()) == pytest.approx(expected(y_true, y_pred), abs=1e-5)


def test_most_of_the_rows_may_be_empty():
    y_true, y_pred = scene(seed=10)
    metric = MeanAveragePrecision(CLASSES)
    metric.update_state(y_true, y_pred)
    assert float(metric.result()) == pytest.approx(expected(y_true, y_pred), abs=1e-5)


class TestNothing:
    def test_seen(self):
        assert float(MeanAveragePrecision(CLASSES).result()) == 0

    @pytest.mark.parametrize(
        ("images", "boxes", "detections"), [(0, 3, 3), (2, 0, 3), (2, 0, 0)]
    )
    def test_to_be_found(self, images, boxes, detections):
        y_true, y_pred = scene(seed=11)
        assert score(y_true[:images, :boxes], y_pred[:images, :detections]) == 0

    def test_but_crowds(self):
        y_true, y_pred = scene(seed=12)
        y_true[..., 5] = 1
        assert score(y_true, y_pred) == 0

    def test_found(self):
        y_true, y_pred = scene(seed=13)
        assert score(y_true, y_pred[:, :0]) == 0
        y_pred[..., 4] = -1
        assert score(y_true, y_pred) == 0

    def test_overlaps(self):
        y_true, y_pred = scene(seed=14)
        y_pred[..., :4] += 1000
        assert score(y_true, y_pred) == 0


def test_all_found():
    y_true, _ = scene(seed=15)
    y_true[..., 5] = 0
    y_pred = y_true.copy()
    y_pred[..., 5] = 0.5
    assert score(y_true, y_pred) == pytest.approx(1)
    y_true = y_true[..., :5] + [0.1, 0.2, 0.7, 0.7, 0]
    y_pred[..., :5] = y_true
    assert score(y_true, y_pred, iou_thresholds=1) == pytest.approx(1)


def test_boxes_without_area():
    # Nothing overlaps them, and they are in the range of small areas.
    y_true = np.array([[[0, 0, 10, 10, 0], [5, 5, 5, 9, 0], [7, 7, 3, 3, 0]]])
    y_pred = np.array(
        [[[5, 5, 5, 9, 0, 0.9], [0, 0, 10, 10, 0, 0.8], [7, 7, 3, 3, 0, 0.7]]]
    )
    for area_range in (None, "small", (0, 200)):
        options = {"area_range": area_range}
        got = score(y_true, y_pred, **options)
        assert got == pytest.approx(expected(y_true, y_pred, **options), abs=1e-6)
        assert got == pytest.approx(34 / 101 / 2, abs=1e-6)


class TestWeights:
    def test_an_image_counts_so_many_times(self):
        y_true, y_pred = scene(seed=16)
        times = np.arange(8) % 3
        copies = [np.repeat(rows, times, axis=0) for rows in (y_true, y_pred)]
        exact = expected(*copies)
        assert exact != pytest.approx(expected(y_true, y_pred), abs=1e-3)
        for weight in (times, times[:, None].astype("float32")):
            got = score(y_true, y_pred, weight)
            assert got == pytest.approx(exact, abs=1e-5)

    def test_an_absent_image_may_hold_anything(self):
        y_true, y_pred = scene(seed=17)
        exact = expected(y_true[1:], y_pred[1:])
        y_true[0], y_pred[0] = np.nan, 9
        got = score(y_true, y_pred, np.arange(8) > 0)
        assert got == pytest.approx(exact, abs=1e-5)

    def test_padding_may_hold_anything(self):
        y_true, y_pred = scene(seed=18)
        exact = score(y_true, y_pred)
        for rows, rest in ((y_true, [0, 1, 2, 3, 5]), (y_pred, [0, 1, 2, 3, 5])):
            padding = rows[..., 4] == -1
            rows[np.ix_(*map(np.arange, rows.shape[:2]), rest)] = np.where(
                padding[..., None], np.nan, rows[..., rest]
            )
        assert score(y_true, y_pred) == pytest.approx(exact)


SCENE_19 = expected(*scene(seed=19))


@settings(max_examples=6)
@given(st.randoms(use_true_random=False), st.integers(0, 8), st.permutations(range(3)))
def test_order_of_images_rows_and_classes_does_not_matter(random, cut, names):
    y_true, y_pred = scene(seed=19)

    def shuffled(rows):
        rows = rows[:, random.sample(range(rows.shape[1]), rows.shape[1])]
        renamed = np.array([*names, -1])[rows[..., 4].astype(int)]
        return np.concatenate(
            [2 * rows[..., :4], renamed[..., None], rows[..., 5:]], axis=-1
        )

    images = random.sample(range(8), 8)
    y_true, y_pred = shuffled(y_true[images]), shuffled(y_pred[images])
    metric = MeanAveragePrecision(CLASSES, capacity=400)
    for weight in (np.arange(8) < cut, np.arange(8) >= cut):
        metric.update_state(y_true, y_pred, weight)
    assert float(metric.result()) == pytest.approx(SCENE_19, abs=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_other_dtypes(dtype):
    y_true, y_pred = scene(seed=20, images=3, boxes=4, detections=6, ties=True)
    y_true, y_pred = np.minimum(y_true, 250), np.minimum(y_pred, 250)
    metric = MeanAveragePrecision(CLASSES, dtype=dtype)
    metric.update_state(y_true.astype("int32"), ops.cast(y_pred, dtype))
    assert keras.backend.standardize_dtype(metric.result().dtype) == dtype
    assert float(metric.result()) == pytest.approx(expected(y_true, y_pred), rel=4e-3)


GOOD_TRUE, GOOD_PRED = [0, 0, 10, 10, 0, 0], [0, 0, 10, 10, 0, 0.5]
WRONG_ROWS = [
    (
        "y_true",
        [0, 0, 10, 10, 3, 0],
        r"from 0 to 2, .*y_true .* \[0, 0, 10, 10, 3, 0\]",
    ),
    ("y_true", [0, 0, 10, 10, -2, 0], "or -1 for padding. .*y_true with a row"),
    ("y_true", [0, 0, 10, 10, 0.5, 0], "whole numbers from 0 to 2, .*y_true"),
    ("y_true", [0, 0, np.nan, 10, 0, 0], "finite numbers: .*y_true .*0, nan, 10"),
    ("y_true", [0, 0, 10, 10, 0, 2], "1 for a crowd, else 0. .*10, 0, 2]"),
    ("y_pred", [0, 0, 10, 10, 3, 0.5], r"from 0 to 2, .*y_pred .*3, 0.5\]"),
    ("y_pred", [0, 0, 10, np.inf, 0, 0.5], "the label and the confidence. .*inf"),
    ("y_pred", [0, 0, 10, 10, 0, -np.inf], "finite numbers: .*y_pred .*-inf"),
]
WITH_NAN = [[*GOOD_PRED[:k], np.nan, *GOOD_PRED[k + 1 :]] for k in range(6)]


class TestWrongInput:
    @pytest.mark.parametrize(("name", "row", "match"), WRONG_ROWS)
    def test_row_raises_when_eager(self, name, row, match):
        data = {"y_true": [[GOOD_TRUE]], "y_pred": [[GOOD_PRED]]}
        data[name] = [[*data[name][0], row]]
        with pytest.raises(ValueError, match=match):
            score(np.array(data["y_true"]), np.array(data["y_pred"]))

    @pytest.mark.parametrize("row", WITH_NAN)
    def test_a_detection_with_nan_makes_the_result_nan(self, row):
        truths, found = np.array([[GOOD_TRUE]]), np.array([[GOOD_PRED, row]])
        assert np.isnan(score(truths, found))
        padding = [*row[:4], -1, np.nan]
        assert score(truths, np.array([[GOOD_PRED, padding]])) == pytest.approx(1)

    def test_weight_raises_when_eager(self):
        match = "how often each image counts: a whole .*a weight 0.5"
        with pytest.raises(ValueError, match=match):
            score(np.array([[GOOD_TRUE]]), np.array([[GOOD_PRED]]), np.array([0.5]))

    @pytest.mark.parametrize("jit_compile", JIT)
    def test_is_nan_when_compiled_until_the_next_reset(self, jit_compile):
        metric = MeanAveragePrecision(CLASSES, capacity=4)
        step = in_steps(metric, jit_compile)

        def result(weight=1, **wrong):
            batch = {"y_true": GOOD_TRUE, "y_pred": GOOD_PRED, **wrong}
            batch = {k: np.array([[row]], "float32") for k, row in batch.items()}
            batch["sample_weight"] = np.array([weight], "float32")
            return step([batch])

        for name, row, *_ in (*WRONG_ROWS, ("y_pred", WITH_NAN[2])):
            assert result() == pytest.approx(1)
            assert result(weight=0, **{name: row}) == pytest.approx(1)
            assert np.isnan(result(**{name: row}))
            assert np.isnan(result())
            metric.reset_state()
        for weight in (-1, 0.5, np.nan, np.inf):
            assert np.isnan(result(weight))
            metric.reset_state()

    def test_is_nan_with_too_many_detections_when_compiled(self):
        metric = MeanAveragePrecision(CLASSES, capacity=3)
        step = in_steps(metric, JIT[0])
        batch = {
            "y_true": np.array([[GOOD_TRUE] * 2], "float32"),
            "y_pred": np.array([[GOOD_PRED] * 2], "float32"),
        }
        assert step([batch]) == pytest.approx(1)
        assert np.isnan(step([batch]))
        with pytest.warns(UserWarning, match="4 detections since .* Pass `capacity=4`"):
            metric.reset_state()
        assert step([batch]) == pytest.approx(1)


def test_too_many_detections_are_an_error():
    y_true, y_pred = np.array([[GOOD_TRUE]]), np.array([[GOOD_PRED] * 5])
    match = "MeanAveragePrecision expects at most `capacity=4` .*Received: 5"
    with pytest.raises(ValueError, match=match):
        score(y_true, y_pred, capacity=4)
    assert score(y_true, y_pred, capacity=4, max_detections=4) == pytest.approx(1)


def test_labels_that_the_dtype_does_not_hold():
    y_true, y_pred = np.array([[GOOD_TRUE]]), np.array([[GOOD_PRED]])
    with pytest.raises(ValueError, match="a dtype that can represent 300 classes"):
        score(y_true, ops.cast(y_pred, "bfloat16"), num_classes=300)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "weight", "match"),
    [
        ((2, 3, 4), (2, 3, 6), None, r"`y_true` .*boxes, 5 or 6\): four .*\(2, 3, 4\)"),
        ((2, 5), (2, 3, 6), None, r"`y_true` of shape .*y_true.shape=\(2, 5\)"),
        ((2, 3, 5), (2, 3, 5), None, r"`y_pred` .*boxes, 6\): four .*\(2, 3, 5\)"),
        (
            (2, 3, 5),
            (3, 3, 6),
            None,
            r"equally many images .*\(2, 3, 5\), .*\(3, 3, 6\)",
        ),
        ((2, 3, 5), (2, 3, 6), (3,), r"one weight for each image .*shape=\(3,\)"),
        ((2, 3, 5), (2, 3, 6), (2, 3), r"one weight for each image .*shape=\(2, 3\)"),
    ],
)
def test_bad_shapes(y_true, y_pred, weight, match):
    weight = None if weight is None else np.ones(weight)
    with pytest.raises(ValueError, match=match):
        score(np.zeros(y_true), np.zeros(y_pred), weight)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"num_classes": 0}, "`num_classes` must be a positive integer"),
        ({"bounding_box_format": "rel_xyxy"}, "must be one of 'xyxy', .*'rel_xyxy'"),
        ({"iou_thresholds": 0}, r"must be a finite number in \(0, 1\]. .*thresholds=0"),
        ({"iou_thresholds": [0.5, 1.1]}, r"`iou_thresholds\[1\]` must be .*=1.1"),
        ({"iou_thresholds": []}, "`iou_thresholds` must not be empty"),
        ({"max_detections": 0}, "`max_detections` must be a positive integer"),
        ({"area_range": "tiny"}, "must be one of None, 'small', .*'tiny'"),
        ({"area_range": 5}, "or a pair of areas. Received: area_range=5"),
        ({"area_range": (-1, 5)}, r"`area_range\[0\]` must be .*\[0, inf\)"),
        ({"area_range": (9, 5)}, r"`area_range\[1\]` must be .*\[9, inf\)"),
        ({"area_range": (1, 2, 3)}, r"a pair of areas. .*=\(1, 2, 3\)"),
        ({"capacity": 0}, "`capacity` must be a positive integer"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        MeanAveragePrecision(**{"num_classes": 3, **arguments})


def test_config_keeps_every_argument():
    arguments = {
        "name": "ap",
        "dtype": "float16",
        "num_classes": 4,
        "bounding_box_format": "xywh",
        "iou_thresholds": [0.5, 0.75],
        "max_detections": 10,
        "area_range": (96.0**2, np.inf),
        "capacity": 1000,
    }
    assert MeanAveragePrecision(**arguments).get_config() == arguments


def gradient_beside_an_update(metric, y_true, y_pred):
    """Return the gradient of the sum of `y_pred` and the metric's result."""
    if keras.backend.backend() == "jax":
        import jax

        state = [variable.value for variable in metric.variables]

        def loss(y_pred):
            new = metric.stateless_update_state(state, y_true, y_pred)
            return ops.sum(y_pred) + metric.stateless_result(new)

        return jax.jit(jax.grad(loss))(y_pred)
    import tensorflow as tf

    @tf.function
    def gradient(y_pred):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            metric.update_state(y_true, y_pred)
            loss = ops.sum(y_pred) + metric.result()
        return tape.gradient(loss, y_pred)

    return gradient(tf.constant(y_pred))


def test_has_no_gradient():
    y_true, y_pred = scene(seed=21, images=2)
    metric = MeanAveragePrecision(CLASSES, capacity=24)
    gradient = gradient_beside_an_update(metric, y_true, y_pred)
    np.testing.assert_array_equal(gradient, np.ones_like(y_pred))

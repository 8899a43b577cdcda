"""IoU losses against the papers' formulas, one pair of boxes at a time."""

import itertools

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from keras_ext.losses import IoU, iou
from tests.backends import gradients
from tests.losses.compiling import assert_compiled_alike, assert_finite
from tests.reference import boxes as reference
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision

FORMS = ["iou", "giou", "diou", "ciou"]
FORMATS = ["xyxy", "yxyx", "xywh", "center_xywh", "center_yxhw"]

rng = np.random.default_rng(8)


def numpy(x):
    return ops.convert_to_numpy(x)


def written(corners, bounding_box_format):
    """Return left, top, right, bottom as another format writes it."""
    left, top, right, bottom = np.moveaxis(corners, -1, 0)
    x, y, width, height = left, top, right - left, bottom - top
    if bounding_box_format.startswith("center"):
        x, y = (left + right) / 2, (top + bottom) / 2
    columns = {
        "xyxy": (left, top, right, bottom),
        "yxyx": (top, left, bottom, right),
        "center_yxhw": (y, x, height, width),
    }.get(bounding_box_format, (x, y, width, height))
    return np.stack(columns, axis=-1).astype(corners.dtype)


def some_boxes(count, seed=0):
    drawn = np.random.default_rng(seed)
    low = drawn.uniform(0, 10, size=(count, 2))
    return np.concatenate([low, low + drawn.uniform(0.5, 8, size=(count, 2))], axis=-1)


true = some_boxes(40, 1).astype("float32")
predicted = some_boxes(40, 2).astype("float32")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bounding_box_format", FORMATS)
def test_equals_the_formula_in_every_format(form, bounding_box_format):
    y_true, y_pred = (written(box, bounding_box_format) for box in (true, predicted))
    expected = reference.iou(
        y_true, y_pred, form=form, bounding_box_format=bounding_box_format
    )
    values = iou(y_true, y_pred, form, bounding_box_format)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)
    loss = IoU(form, bounding_box_format)
    assert float(loss(y_true, y_pred)) == pytest.approx(expected.mean(), rel=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bounding_box_format", FORMATS)
@pytest.mark.parametrize("scale", [1.0, 1e-3, 500.0])
def test_boxes_with_negative_sizes_equal_the_formula(form, bounding_box_format, scale):
    any_numbers = (scale * rng.normal(size=(2, 30, 4))).astype("float32")
    expected = reference.iou(
        *any_numbers, form=form, bounding_box_format=bounding_box_format
    )
    values = iou(*any_numbers, form, bounding_box_format)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)


def test_iou_counts_cells():
    whole = rng.integers(0, 6, size=(2, 20, 4))
    corners = np.concatenate([whole[..., :2], whole[..., :2] + whole[..., 2:] + 1], -1)
    cells = [reference.rasterised_iou(*pair) for pair in zip(*corners, strict=True)]
    np.testing.assert_allclose(1 - numpy(iou(*corners, "iou")), cells, atol=1e-6)


def test_giou_gives_the_number_that_tensorflow_addons_documents():
    y_true = [[4.0, 3.0, 7.0, 5.0], [5.0, 6.0, 10.0, 7.0]]
    y_pred = [[3.0, 4.0, 6.0, 8.0], [14.0, 14.0, 15.0, 15.0]]
    loss = IoU("giou", "yxyx")
    assert float(loss(y_true, y_pred)) == pytest.approx(1.5041667, rel=1e-6)


def test_ciou_equals_keras():
    theirs = keras.utils.bounding_boxes.compute_ciou(true, predicted, "xyxy")
    np.testing.assert_allclose(
        1 - numpy(iou(true, predicted, "ciou")), theirs, atol=1e-5
    )


def test_small_boxes_in_shares_of_an_image_keep_their_overlap():
    half = np.array([[0.5, 0.5, 0.501, 0.501], [0.5, 0.5, 0.501, 0.5005]], "float32")
    expected = reference.iou(half[:1], half[1:], form="iou")
    assert expected[0] == pytest.approx(0.5, rel=1e-3)
    np.testing.assert_allclose(iou(half[:1], half[1:], "iou"), expected, rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
class TestCorners:
    def test_equal_boxes_are_0(self, form):
        np.testing.assert_allclose(iou(true, true, form), 0, atol=1e-6)
        assert_finite(lambda x: iou(true, x, form), true)

    def test_boxes_next_to_nothing_are_finite(self, form):
        boxes = [(0, 0, 2, 2)]
        for at in (0, 3):
            for size in (0, 1e-30, 1e-20, 1e-12, 1e-6):
                boxes.append((at, at, at + size, at + size))
                boxes.append((at, at, at + size, at + 1))
        y_true, y_pred = (
            np.array(pair, "float32").reshape(-1, 4)
            for pair in zip(*itertools.product(boxes, boxes), strict=True)
        )
        assert_finite(lambda x: iou(y_true, x, form), y_pred)

    def test_boxes_far_away_are_finite(self, form):
        far = np.array([[0, 0, 1e-9, 1e-9], [1e6, 1e6, 1e6 + 2, 1e6 + 2]], "float32")
        assert_finite(lambda x: iou(far, x, form), far[::-1].copy())

    def test_boxes_apart_have_a_slope_unless_it_is_the_plain_iou(self, form):
        apart = true + np.float32(100)
        (slope,) = gradients(lambda x: iou(true, x, form), apart)
        moves = np.abs(slope).max(axis=-1) > 0
        assert not moves.any() if form == "iou" else moves.all()

    def test_the_range(self, form):
        values = numpy(iou(true, predicted, form))
        assert (values >= 0).all()
        assert (values <= {"iou": 1, "giou": 2}.get(form, 3)).all()


@needs_double_precision
class TestGradient:
    @pytest.mark.parametrize("form", ["iou", "giou", "diou"])
    @pytest.mark.parametrize("bounding_box_format", FORMATS)
    def test_is_the_slope(self, form, bounding_box_format):
        y_true, y_pred = (
            written(some_boxes(20, seed), bounding_box_format) for seed in (3, 4)
        )
        assert_gradient_is_the_slope(
            lambda x: iou(y_true, x, form, bounding_box_format), y_pred
        )

    def test_of_ciou_takes_alpha_as_a_number(self):
        y_true, y_pred = some_boxes(10, 3), some_boxes(10, 4)
        (gradient,) = gradients(lambda x: iou(y_true, x, "ciou"), y_pred)
        for row, (one, other) in enumerate(zip(y_true, y_pred, strict=True)):
            for column in range(4):
                slope = _slope_of_ciou(one, other, column)
                assert gradient[row, column] == pytest.approx(slope, rel=1e-4, abs=1e-7)


def _slope_of_ciou(one, other, column, step=1e-6):
    def overlap(corners, form, alpha=None):
        boxes = (reference.to_box(box, "xyxy") for box in (one, corners))
        return reference.overlap(*boxes, form, alpha)

    diou, with_alpha_1 = (overlap(other, *f) for f in (("diou",), ("ciou", 1.0)))
    alpha = reference.ciou_alpha(overlap(other, "iou"), diou - with_alpha_1)
    values = []
    for moved in (step, -step):
        corners = other.copy()
        corners[column] += moved
        values.append(1 - overlap(corners, "ciou", alpha))
    return (values[0] - values[1]) / (2 * step)


@given(
    seed=st.integers(0, 1000),
    shift=st.floats(-5, 5),
    scale=st.floats(0.1, 10),
    form=st.sampled_from(FORMS),
)
def test_place_and_unit_do_not_matter(seed, shift, scale, form):
    y_true, y_pred = some_boxes(6, seed), some_boxes(6, seed + 1)
    expected = iou(y_true, y_pred, form)
    moved = (scale * (boxes + shift) for boxes in (y_true, y_pred))
    np.testing.assert_allclose(iou(*moved, form), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_both_boxes_count_alike(form):
    values = iou(true, predicted, form)
    np.testing.assert_allclose(iou(predicted, true, form), values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("form", "bounding_box_format"),
    [*zip(FORMS, ["yxyx", "xywh", "xyxy", "center_yxhw"], strict=True)],
)
def test_compiled(form, bounding_box_format):
    y_true, y_pred = (written(box, bounding_box_format) for box in (true, predicted))
    assert_compiled_alike(lambda x: iou(y_true, x, form, bounding_box_format), y_pred)


def test_several_boxes_an_image_and_weights_for_those_that_are_there():
    y_true, y_pred = true.reshape(8, 5, 4), predicted.reshape(8, 5, 4)
    values = iou(y_true, y_pred)
    assert tuple(values.shape) == (8, 5)
    there = np.arange(40).reshape(8, 5) % 5 < 3
    padded = np.where(there[..., None], y_true, -1)
    loss = IoU(reduction="mean_with_sample_weight")
    assert float(
        loss(padded, y_pred, sample_weight=there.astype("float32"))
    ) == pytest.approx(numpy(values)[there].mean(), rel=1e-5)


def test_a_mask_of_the_predictions_is_respected():
    sequence = keras.layers.Masking(mask_value=-1.0)(
        np.concatenate([predicted.reshape(8, 5, 4), np.full((8, 2, 4), -1.0)], axis=1)
    )
    y_true = np.concatenate([true.reshape(8, 5, 4), np.zeros((8, 2, 4))], axis=1)
    expected = float(IoU()(true, predicted))
    assert float(IoU()(y_true, sequence)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    half = ops.cast(predicted, dtype)
    values = iou(true, half)
    assert keras.backend.standardize_dtype(values.dtype) == "float32"
    np.testing.assert_array_equal(values, iou(true, ops.cast(half, "float32")))


def test_integers():
    assert float(iou([[0, 0, 2, 2]], [[1, 0, 3, 2]], "iou")[0]) == pytest.approx(2 / 3)


def test_empty_batch():
    assert numpy(iou(true[:0], predicted[:0], "ciou")).shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"form": "eiou"}, "`form` must be one of 'iou', 'giou', 'diou', 'ciou'. .*'e"),
        (
            {"bounding_box_format": "rel_xyxy"},
            "`bounding_box_format` must be one of 'xyxy', 'yxyx', .*='rel_xyxy'",
        ),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        IoU(**arguments)
    with pytest.raises(ValueError, match=match):
        iou(true, predicted, **arguments)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "match"),
    [
        ((3, 4), (2, 4), r"iou expects y_true and y_pred of the same shape \(batch"),
        ((3, 1, 4), (3, 2, 4), r"y_true.shape=\(3, 1, 4\), y_pred.shape=\(3, 2, 4\)"),
        ((4,), (4,), r"\(batch, ..., 4\). Received: y_true.shape=\(4,\)"),
        ((3, 5), (3, 5), r"four coordinates on the last axis.*y_pred.shape=\(3, 5\)"),
    ],
)
def test_bad_shapes(y_true, y_pred, match):
    with pytest.raises(ValueError, match=match):
        iou(np.zeros(y_true), np.zeros(y_pred))


def test_config_keeps_every_argument():
    loss = IoU("ciou", "yxyx", reduction="sum", name="boxes", dtype="float64")
    assert loss.get_config() == {
        "name": "boxes",
        "reduction": "sum",
        "form": "ciou",
        "bounding_box_format": "yxyx",
        "dtype": "float64",
    }


def test_a_weight_per_image_is_refused_and_one_for_its_boxes_is_not():
    boxes = np.array([[[0, 0, 2, 2], [0, 0, 1, 1]]] * 2, "float32")
    moved = boxes + np.array([1, 0, 1, 0], "float32")
    weights = np.array([1.0, 0.0], "float32")
    with pytest.raises(ValueError, match=r"one weight .*\(2, 1\).*shape=\(2,\)"):
        IoU()(boxes, moved, sample_weight=weights)
    both = np.repeat(weights[:, None], 2, axis=1)
    spread, given = (
        float(IoU()(boxes, moved, sample_weight=one))
        for one in (weights[:, None], both)
    )
    assert spread == given
    assert np.isfinite(IoU()(boxes[:, 0], moved[:, 0], sample_weight=weights))

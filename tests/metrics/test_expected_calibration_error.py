"""Expected calibration error against the paper's formula and cases by hand."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.metrics import ExpectedCalibrationError
from keras_ext.metrics.expected_calibration_error import expected_calibration_error
from tests.backends import compiled
from tests.metrics.modes import JIT, in_steps, result_in_steps
from tests.reference import losses, mean_metrics
from tests.reference import metrics as reference

BACKEND = keras.backend.backend()
CLASSES = 6

rng = np.random.default_rng(13)
logits = 2 * rng.normal(size=(500, CLASSES))
probabilities = losses.softmax(logits).astype("float32")
labels = np.argmax(logits + rng.gumbel(size=logits.shape), axis=-1).astype("int32")
sample_weight = rng.uniform(size=500).astype("float32")


def error(y_true, y_pred, num_bins=15, sample_weight=None):
    metric = ExpectedCalibrationError(num_bins)
    metric.update_state(y_true, y_pred, sample_weight=sample_weight)
    return float(metric.result())


@pytest.mark.parametrize("num_bins", [1, 2, 10, 15, 100])
@pytest.mark.parametrize("weight", [None, sample_weight], ids=["equal", "weighted"])
@pytest.mark.parametrize("sharpness", [0.3, 1.0, 3.0])
class TestValues:
    def test_equals_the_formula(self, num_bins, weight, sharpness):
        y_pred = losses.softmax(sharpness * logits).astype("float32")
        expected = reference.expected_calibration_error(
            labels, y_pred, num_bins, weight
        )
        assert error(labels, y_pred, num_bins, weight) == pytest.approx(
            expected, abs=1e-6
        )

    def test_a_sigmoid_column_equals_two_columns(self, num_bins, weight, sharpness):
        p = 1 / (1 + np.exp(-sharpness * logits[:, 0]))
        y_true = labels % 2
        expected = reference.expected_calibration_error(
            y_true, np.stack([1 - p, p], axis=-1), num_bins, weight
        )
        for y_pred in (p, p[:, None]):
            assert error(y_true, y_pred, num_bins, weight) == pytest.approx(
                expected, abs=1e-6
            )


class TestByHand:
    def test_two_bins_that_err_in_opposite_directions(self):
        # (0.5, 1]: confidence 0.75, accuracy 1/2; [0, 0.5]: confidence 0.4, accuracy 1.
        y_pred = np.array([[0.75, 0.25, 0], [0.75, 0.25, 0], [0.3, 0.3, 0.4]])
        expected = (2 * 0.25 + 1 * 0.6) / 3
        assert error([0, 1, 2], y_pred, num_bins=2) == pytest.approx(expected)

    def test_a_confidence_on_an_edge_belongs_to_the_bin_below(self):
        # 0.5 alone in (0.25, 0.5], 0.75 and 0.625 in (0.5, 0.75].
        y_pred = [[0.5, 0.25, 0.25], [0.75, 0.25, 0], [0.25, 0.625, 0.125]]
        expected = (0.5 + abs(0.75 + 0.625 - 1)) / 3
        assert error([0, 0, 0], np.array(y_pred), num_bins=4) == pytest.approx(expected)

    @pytest.mark.parametrize("num_bins", [3, 7, 10, 15])
    def test_edges_that_float32_rounds(self, num_bins):
        edges = np.arange(1, num_bins + 1) / num_bins
        edges = edges[edges > 0.5].astype("float32")
        metric = ExpectedCalibrationError(num_bins)
        metric.update_state(np.zeros(len(edges)), np.stack([edges, 1 - edges], -1))
        counts = ops.convert_to_numpy(metric.total)[:, 0]
        np.testing.assert_array_equal(counts[-len(edges) :], 1)
        assert counts.sum() == len(edges)

    def test_certain(self):
        assert error([0, 1], np.eye(2)) == 0
        assert error([1, 0], np.eye(2)) == 1

    def test_of_equal_probabilities_the_first_is_predicted(self):
        half = np.array([[0.5, 0.5]])
        assert error([0], half) == 0.5
        assert error([1], half) == 0.5
        assert error([0], half[:, :1]) == 0.5

    def test_calibrated(self):
        y_true = np.array([0, 0, 0, 1])
        assert error(y_true, np.tile([0.75, 0.25], (4, 1))) == 0


def test_nothing_seen_is_0():
    assert float(ExpectedCalibrationError().result()) == 0
    assert error(labels[:0], probabilities[:0]) == 0
    assert error(labels, probabilities, sample_weight=np.zeros(500)) == 0


@pytest.mark.parametrize("dtype", ["int8", "int64", "float16"])
def test_labels_of_any_dtype_and_with_a_class_axis(dtype):
    expected = error(labels, probabilities)
    assert error(labels.astype(dtype), probabilities) == expected
    assert error(labels[:, None].astype(dtype), probabilities) == expected


def test_images():
    expected = error(labels, probabilities, sample_weight=sample_weight)
    images, weight = (
        probabilities.reshape(5, 10, 10, -1),
        sample_weight.reshape(5, 10, 10),
    )
    for shape in [(5, 10, 10), (5, 10, 10, 1)]:
        assert error(labels.reshape(shape), images, sample_weight=weight) == (
            pytest.approx(expected, rel=1e-6)
        )


def test_any_split_into_batches_is_the_same():
    metric = ExpectedCalibrationError()
    for part in np.array_split(rng.permutation(500), 7):
        metric.update_state(labels[part], probabilities[part], sample_weight[part])
    expected = error(labels, probabilities, sample_weight=sample_weight)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_softmax_in_half_precision_is_accepted(dtype):
    many = ops.cast(rng.normal(size=(50, 1000)), dtype)
    y_pred = ops.softmax(many)
    y_true = np.zeros(50)
    expected = reference.expected_calibration_error(
        y_true, ops.convert_to_numpy(ops.cast(y_pred, "float32"))
    )
    assert error(y_true, y_pred) == pytest.approx(expected, abs=1e-6)


def test_half_precision_counts_on():
    metric = ExpectedCalibrationError(dtype="float16")
    y_pred = np.tile([1.0, 0.0], (3001, 1))
    for _ in range(3):
        metric.update_state(np.zeros(3001), y_pred)
    assert keras.backend.standardize_dtype(metric.result().dtype) == "float16"
    assert ops.convert_to_numpy(metric.total)[-1].tolist() == [9003, 9003, 9003]


WRONG_PREDICTIONS = [
    ([2.0, -1.0, 0.0], "values from -1 to 2 and sum 1. .*keras.ops.softmax"),
    ([0.5, 0.2, 0.1], "values from 0.1 to 0.5 and sum 0.8"),
    ([0.5, 0.5, 0.5], "values from 0.5 to 0.5 and sum 1.5"),
    ([np.inf, 0.5, 0.5], "sum inf"),
]


class TestWrongInput:
    @pytest.mark.parametrize("label", [-1, 3, 0.5, np.nan])
    def test_label_raises_when_eager(self, label):
        match = f"whole numbers from 0 to 2. Received: y_true with a label {label:g}"
        with pytest.raises(ValueError, match=match):
            error([0, label], np.eye(3)[:2])

    @pytest.mark.parametrize(("row", "match"), WRONG_PREDICTIONS)
    def test_prediction_raises_when_eager(self, row, match):
        with pytest.raises(ValueError, match=match):
            error([0, 0], np.array([[1, 0, 0], row]))

    @pytest.mark.parametrize("p", [-0.5, 1.5, np.inf])
    def test_logit_of_a_single_output_raises_when_eager(self, p):
        with pytest.raises(
            ValueError, match=r"`keras\.ops\.sigmoid` to a single output"
        ):
            error([0, 0], np.array([[0.5], [p]]))

    @pytest.mark.parametrize("row", [row for row, _ in WRONG_PREDICTIONS])
    def test_is_absent_with_weight_0(self, row):
        y_pred, weight = np.array([[0.75, 0.25, 0], row]), np.array([1, 0])
        assert error([0, 9], y_pred, sample_weight=weight) == 0.25

    @pytest.mark.parametrize(
        "jit_compile", [True] if BACKEND == "jax" else [False, True]
    )
    def test_is_nan_when_compiled_until_the_next_reset(self, jit_compile):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Identity()])
        model.compile(
            loss=lambda y, p: ops.mean(p, axis=-1),
            weighted_metrics=[ExpectedCalibrationError()],
            jit_compile=jit_compile,
        )

        def evaluate(label, row, weight):
            model.reset_metrics()
            logs = model.test_on_batch(
                np.array([[0.75, 0.25, 0], row], "float32"),
                np.array([0, label], "int32"),
                sample_weight=np.array([1, weight], "float32"),
                return_dict=True,
            )
            return logs["expected_calibration_error"]

        assert np.isnan(evaluate(-1, [0, 1, 0], 1))
        assert np.isnan(evaluate(3, [0, 1, 0], 1))
        for row, _ in WRONG_PREDICTIONS:
            assert np.isnan(evaluate(0, row, 1))
            assert evaluate(9, row, 0) == 0.25
        assert evaluate(1, [0, 1, 0], 1) == 0.125


@pytest.mark.parametrize("num_bins", [0, -1, 1.5, True, None])
def test_bad_num_bins(num_bins):
    with pytest.raises(ValueError, match="`num_bins` must be a positive integer"):
        ExpectedCalibrationError(num_bins)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "weight", "match"),
    [
        ((5,), (6, 2), None, r"\(6, 2\) goes with y_true of shape \(6,\). .*\(5,\)"),
        ((6, 2), (6, 2), None, r"one integer label.*y_true.shape=\(6, 2\)"),
        ((6,), (6, 2), (3,), r"one weight for each label.*sample_weight.shape=\(3,\)"),
    ],
)
def test_bad_shapes(y_true, y_pred, weight, match):
    weight = None if weight is None else np.ones(weight)
    with pytest.raises(ValueError, match=match):
        error(np.zeros(y_true), np.full(y_pred, 0.5), sample_weight=weight)


def test_config_keeps_every_argument():
    metric = ExpectedCalibrationError(10, name="ece", dtype="float16")
    assert metric.get_config() == {
        "name": "ece",
        "dtype": "float16",
        "num_bins": 10,
        "binning": "equal_width",
        "norm": "l1",
        "capacity": None,
        "ignore_class": None,
    }


def test_ignored_class_is_absent():
    rng = np.random.default_rng(3)
    probabilities = rng.dirichlet(np.ones(3), size=40)
    labels = rng.integers(0, 3, size=40).astype("int32")
    expected = reference.expected_calibration_error(labels[10:], probabilities[10:], 5)
    labels[:10] = -1
    metric = ExpectedCalibrationError(5, ignore_class=-1)
    metric.update_state(labels, probabilities)
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


def extended(y_true, y_pred, num_bins=15, sample_weight=None, **options):
    if options.get("binning") == "equal_mass":
        options = {"capacity": 500, **options}
    metric = ExpectedCalibrationError(num_bins, **options)
    metric.update_state(y_true, y_pred, sample_weight=sample_weight)
    return float(metric.result())


@pytest.mark.parametrize("binning", ["equal_width", "equal_mass"])
@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
class TestBinningAndNorm:
    @pytest.mark.parametrize("num_bins", [1, 10, 15, 600])
    @pytest.mark.parametrize("weight", [None, sample_weight, np.arange(500.0) % 3])
    def test_equals_the_formula(self, binning, norm, num_bins, weight):
        options = {"binning": binning, "norm": norm, "ignore_class": 4}
        expected = mean_metrics.expected_calibration_error(
            labels, probabilities, num_bins, sample_weight=weight, **options
        )
        got = extended(labels, probabilities, num_bins, weight, **options)
        assert got == pytest.approx(expected, abs=1e-5)

    def test_of_equal_confidences_the_earlier_comes_first(self, binning, norm):
        y_pred = np.tile([0.75, 0.25], (7, 1))
        y_true = np.array([0, 0, 0, 1, 1, 1, 0])
        options = {"binning": binning, "norm": norm}
        expected = mean_metrics.expected_calibration_error(y_true, y_pred, 3, **options)
        assert extended(y_true, y_pred, 3, **options) == pytest.approx(expected)

    def test_nothing_seen_is_0(self, binning, norm):
        options = {"binning": binning, "norm": norm}
        assert extended(labels[:0], probabilities[:0], **options) == 0
        assert extended(labels, probabilities, 15, np.zeros(500), **options) == 0


@pytest.mark.parametrize("jit_compile", JIT)
@pytest.mark.parametrize(
    "options",
    [
        {"norm": "max"},
        {"norm": "l2", "binning": "equal_mass", "capacity": 500},
    ],
    ids=str,
)
def test_compiled(options, jit_compile):
    y_pred = np.round(probabilities, 1)  # with equal confidences
    y_pred /= y_pred.sum(axis=-1, keepdims=True)
    batches = [
        {
            "y_true": labels[part],
            "y_pred": y_pred[part],
            "sample_weight": sample_weight[part],
        }
        for part in np.split(np.arange(500), 5)
    ]
    metric = ExpectedCalibrationError(7, **options)
    run = in_steps(metric, jit_compile)
    expected = mean_metrics.expected_calibration_error(
        labels,
        y_pred,
        7,
        sample_weight=sample_weight,
        norm=options["norm"],
        binning=options.get("binning", "equal_width"),
    )
    assert run(batches) == pytest.approx(expected, abs=1e-5)
    metric.reset_state()
    assert np.isnan(run([{**batches[0], "y_true": np.full(100, CLASSES, "int32")}]))


@pytest.mark.parametrize("jit_compile", JIT)
@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_a_bin_of_nan_makes_the_error_nan(norm, jit_compile):
    bins = np.array([[1, 0.9, 1], [np.nan, np.nan, 0], [2, 1, 1]], "float32")
    error = compiled(lambda x: expected_calibration_error(x, norm), jit_compile)
    assert np.isnan(error(bins))


def test_too_many_samples_for_equal_mass():
    match = "ExpectedCalibrationError .*`capacity=499` samples .*500 samples"
    with pytest.raises(ValueError, match=match):
        extended(labels, probabilities, binning="equal_mass", capacity=499)


@pytest.mark.parametrize("jit_compile", JIT)
def test_too_many_samples_for_equal_mass_when_compiled(jit_compile):
    metric = ExpectedCalibrationError(binning="equal_mass", capacity=499)
    batch = {"y_true": labels, "y_pred": probabilities}
    assert np.isnan(result_in_steps(metric, [batch], jit_compile))
    with pytest.warns(UserWarning, match="has seen 500 samples .*keeps 499"):
        metric.reset_state()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"binning": "quantile"}, "'equal_width', 'equal_mass'. .*'quantile'"),
        ({"norm": "l3"}, "'l1', 'l2', 'max'. Received: norm='l3'"),
        ({"binning": "equal_mass"}, "`capacity` must be given .*capacity=None"),
        ({"binning": "equal_mass", "capacity": 0}, "`capacity` must be a positive"),
        ({"capacity": 10}, "keep no samples. Received: capacity=10"),
    ],
)
def test_bad_options(options, match):
    with pytest.raises(ValueError, match=match):
        ExpectedCalibrationError(**options)

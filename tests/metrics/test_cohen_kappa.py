"""Cohen's kappa against the papers' formula and scikit-learn."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.metrics import cohen_kappa_score

import keras_ext
from keras_ext.metrics import CohenKappa
from tests.reference import metrics as reference

BACKEND = keras.backend.backend()
CLASSES = 4
WEIGHTS = [None, "linear", "quadratic"]

rng = np.random.default_rng(11)
labels = rng.integers(0, CLASSES, size=200, dtype="int32")
predicted = np.where(rng.uniform(size=200) < 0.5, labels, rng.permutation(labels))
predicted = predicted.astype("int32")
scores = rng.uniform(size=(200, CLASSES)).astype("float32") + np.eye(CLASSES)[predicted]
sample_weight = rng.uniform(size=200).astype("float32")


def kappa(y_true, y_pred, weights=None, sample_weight=None, **options):
    options = {"num_classes": CLASSES, "sparse_y_pred": True, **options}
    metric = CohenKappa(weights=weights, **options)
    metric.update_state(y_true, y_pred, sample_weight=sample_weight)
    return float(metric.result())


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("weight", [None, sample_weight], ids=["equal", "weighted"])
class TestValues:
    def test_equals_the_formula(self, weights, weight):
        expected = reference.cohen_kappa(labels, predicted, CLASSES, weights, weight)
        assert kappa(labels, predicted, weights, weight) == pytest.approx(
            expected, abs=1e-6
        )

    def test_equals_scikit_learn(self, weights, weight):
        expected = cohen_kappa_score(
            labels, predicted, weights=weights, sample_weight=weight
        )
        assert kappa(labels, predicted, weights, weight) == pytest.approx(
            expected, abs=1e-6
        )

    def test_all_forms_of_the_same_samples_agree(self, weights, weight):
        expected = kappa(labels, predicted, weights, weight)
        one_hot = np.eye(CLASSES, dtype="float32")[labels]
        forms = [
            (labels[:, None], predicted[:, None], {}),
            (labels.astype("uint8"), predicted.astype("float16"), {}),
            (labels, scores, {"sparse_y_pred": False}),
            (labels[:, None], scores, {"sparse_y_pred": False}),
            (one_hot, scores, {"sparse_y_pred": False, "sparse_y_true": False}),
            (one_hot, predicted, {"sparse_y_true": False}),
        ]
        for y_true, y_pred, options in forms:
            assert kappa(y_true, y_pred, weights, weight, **options) == expected

    def test_images(self, weights, weight):
        def image(x):
            return None if x is None else x.reshape(10, 5, 4)

        assert kappa(image(labels), image(predicted), weights, image(weight)) == kappa(
            labels, predicted, weights, weight
        )


def test_published_example():
    # Cohen 1960 gives counts of 200 patients by two raters: kappa = .492.
    counts = np.array([[88, 14, 18], [10, 40, 10], [2, 6, 12]])
    true, rated = np.indices((3, 3)).reshape(2, 9)
    result = kappa(true, rated, sample_weight=counts.reshape(-1), num_classes=3)
    assert result == pytest.approx(0.492, abs=5e-4)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_perfect_and_opposite(weights):
    assert kappa(labels, labels, weights) == 1
    assert kappa([0, 1], [1, 0], weights, num_classes=2) == -1


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("weight", [None, sample_weight], ids=["equal", "weighted"])
class TestRegression:
    def test_equals_the_formula_for_the_nearest_class(self, weights, weight):
        numbers = rng.uniform(-2, CLASSES + 1, size=200).astype("float32")
        distance = np.abs(numbers[:, None] - np.arange(CLASSES))
        expected = reference.cohen_kappa(
            labels, distance.argmin(axis=1), CLASSES, weights, weight
        )
        for shape in [(200,), (200, 1)]:
            result = kappa(
                labels,
                numbers.reshape(shape),
                weights,
                weight,
                sparse_y_pred=False,
                regression=True,
            )
            assert result == pytest.approx(expected, abs=1e-6)

    def test_a_nan_is_nan(self, weights, weight):
        numbers = np.where(np.arange(200) == 7, np.nan, labels)
        options = {"sparse_y_pred": False, "regression": True}
        assert np.isnan(kappa(labels, numbers, weights, weight, **options))
        present = (np.arange(200) != 7) * (1 if weight is None else weight)
        assert kappa(labels, numbers, weights, present, **options) == 1


@pytest.mark.parametrize(
    ("weights", "expected"),
    [(None, 0.52), ("linear", 0.66666663), ("quadratic", 0.79130435)],
)
def test_regression_equals_tensorflow_addons(weights, expected):
    # tfa.metrics.CohenKappa(5, sparse_labels=True, regression=True), version 0.23.0.
    y_true = np.array([0, 1, 2, 3, 4, 4, 2, 1])
    y_pred = np.array([[-0.4], [1.4], [2.5], [2.2], [3.6], [1.5], [2.49], [0.4]])
    metric = CohenKappa(5, weights=weights, regression=True)
    assert float(metric(y_true, y_pred)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_regression_in_half_precision_is_the_nearest_class(dtype):
    numbers = ops.cast(labels + rng.uniform(-0.4, 0.4, size=200), dtype)
    metric = CohenKappa(CLASSES, regression=True, dtype=dtype)
    assert float(metric(labels, numbers)) == 1


def test_a_sigmoid_column_is_the_probability_of_class_1():
    probability = np.array([[0.9], [0.2], [0.5], [0.6]], "float32")
    options = {"num_classes": 2, "sparse_y_pred": False}
    y_true = np.array([1, 0, 0, 0])
    expected = kappa(y_true, [1, 0, 0, 1], num_classes=2)
    assert kappa(y_true, probability, **options) == expected
    assert kappa(y_true[:, None], probability, **options) == expected


@pytest.mark.parametrize("weights", WEIGHTS)
class TestUndefined:
    def test_nothing_seen(self, weights):
        assert float(CohenKappa(CLASSES, weights=weights).result()) == 0
        assert kappa(labels[:0], predicted[:0], weights) == 0
        assert kappa(labels, predicted, weights, np.zeros(200)) == 0

    def test_one_class_only(self, weights):
        assert kappa([2, 2, 2], [2, 2, 2], weights) == 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, about this very case
            score = cohen_kappa_score([2, 2], [2, 2], weights=weights, labels=[2, 3])
        assert np.isnan(score)

    def test_one_predicted_class_is_defined(self, weights):
        assert kappa([0, 1, 2], [1, 1, 1], weights) == pytest.approx(0, abs=1e-6)


def test_any_split_into_batches_is_exactly_the_same():
    whole = kappa(labels, predicted, "linear", np.arange(200) % 5)
    metric = CohenKappa(CLASSES, weights="linear", sparse_y_pred=True)
    for part in np.array_split(rng.permutation(200), 7):
        metric.update_state(labels[part], predicted[part], sample_weight=part % 5)
    assert float(metric.result()) == whole


def test_a_weight_per_sample_holds_for_all_its_labels():
    images, predictions = labels.reshape(10, 20), predicted.reshape(10, 20)
    per_sample = np.arange(10) % 3
    expected = kappa(labels, predicted, sample_weight=np.repeat(per_sample, 20))
    for weight in (per_sample, per_sample[:, None]):
        assert kappa(images, predictions, sample_weight=weight) == expected
    assert kappa(images, predictions, sample_weight=2.0) == kappa(labels, predicted)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_counts_on(dtype):
    metric = CohenKappa(2, sparse_y_pred=True, dtype=dtype)
    for _ in range(3):
        metric.update_state(np.zeros(3001), np.zeros(3001))
        metric.update_state(np.ones(3001), np.ones(3001))
    metric.update_state([0], [1])
    assert keras.backend.standardize_dtype(metric.result().dtype) == dtype
    counts = ops.convert_to_numpy(metric.total)
    np.testing.assert_array_equal(counts, [[9003, 1], [0, 9003]])


def test_more_samples_than_float32_can_count():
    metric = CohenKappa(2, sparse_y_pred=True)
    metric.update_state([0], [0], sample_weight=[2.0**24])
    for _ in range(8):
        metric.update_state([0], [0])
    counts = ops.convert_to_numpy(metric.total) + ops.convert_to_numpy(metric.rest)
    assert counts[0, 0] == 2**24 + 8


@pytest.mark.parametrize("label", [-1, CLASSES, 2**24 + 2, 2**32, 1.5, np.nan])
@pytest.mark.parametrize("side", ["y_true", "y_pred"])
class TestWrongLabel:
    def _pair(self, label, side, dtype):
        wrong, right = labels[:6].astype(dtype), predicted[:6]
        wrong[3] = label
        return (wrong, right) if side == "y_true" else (right, wrong)

    def test_raises_when_eager(self, label, side):
        match = (
            rf"CohenKappa expects `{side}` to hold class labels, whole numbers from 0 "
            rf"to 3. Received: {side} with a label {label:.10g}. .*`sample_weight` of 0"
        )
        if side == "y_pred" and np.isnan(label):  # of a model that has diverged
            assert np.isnan(kappa(*self._pair(label, side, "float64")))
            return
        with pytest.raises(ValueError, match=match.replace("+", r"\+")):
            kappa(*self._pair(label, side, "float64"))

    def test_is_absent_with_weight_0(self, label, side):
        y_true, y_pred = self._pair(label, side, "float64")
        weight = np.arange(6) != 3
        assert kappa(y_true, y_pred, sample_weight=weight) == kappa(
            y_true[weight], y_pred[weight]
        )


@pytest.mark.parametrize("jit_compile", [True] if BACKEND == "jax" else [False, True])
def test_a_wrong_label_is_nan_when_compiled_until_the_next_reset(jit_compile):
    model = keras.Sequential([keras.Input((CLASSES,)), keras.layers.Identity()])
    metric = CohenKappa(CLASSES)
    model.compile(
        loss=lambda y, p: ops.mean(p, axis=-1),
        weighted_metrics=[metric],
        jit_compile=jit_compile,
    )

    def evaluate(y_true, weight):
        model.reset_metrics()
        return model.test_on_batch(
            scores[:6], y_true, sample_weight=weight, return_dict=True
        )["cohen_kappa"]

    for label in (-1, CLASSES):
        wrong = np.where(np.arange(6) == 3, label, labels[:6]).astype("int32")
        weight = (np.arange(6) != 3).astype("float32")
        assert np.isnan(evaluate(wrong, np.ones(6, "float32")))
        expected = kappa(labels[:6], predicted[:6], sample_weight=weight)
        assert evaluate(wrong, weight) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"num_classes": 1}, "`num_classes` must be an integer of at least 2. .*=1"),
        ({"num_classes": 2.0}, "num_classes=2.0"),
        ({"num_classes": True}, "num_classes=True"),
        (
            {"num_classes": 3, "weights": "cubic"},
            "None, 'linear', 'quadratic'. .*cubic",
        ),
        (
            {"num_classes": 3, "regression": 2},
            "`regression` must be one of True, False. Received: regression=2",
        ),
        (
            {"num_classes": 3, "regression": True, "sparse_y_pred": True},
            "`sparse_y_pred` must be False with `regression=True`.*sparse_y_pred=True",
        ),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        CohenKappa(**arguments)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "weight", "options", "match"),
    [
        ((6,), (6,), None, {}, r"`y_pred` of shape \(batch, ..., 4\).*sparse_y_pred="),
        ((6,), (6, 3), None, {}, r"a score for each class. .*y_pred.shape=\(6, 3\)"),
        ((6,), (6, 1), None, {}, r"y_pred.shape=\(6, 1\)"),
        ((6,), (6, 4), None, {"sparse_y_true": False}, "`sparse_y_true=True`"),
        ((5,), (6, 4), None, {}, r"\(6, 4\) goes with y_true of shape \(6,\)"),
        ((6,), (6, 4), (5,), {}, r"one weight for each label .*\(6,\).*shape=\(5,\)"),
        ((6,), (6, 4), (6, 4), {}, r"sample_weight.shape=\(6, 4\)"),
        (
            (6,),
            (6, 4),
            None,
            {"regression": True},
            r"`regression=True` expects labels.*y_pred.shape=\(6, 4\).*`regression=F",
        ),
    ],
)
def test_bad_shapes(y_true, y_pred, weight, options, match):
    metric = CohenKappa(CLASSES, **options)
    with pytest.raises(ValueError, match=match):
        metric.update_state(
            np.zeros(y_true),
            np.zeros(y_pred),
            sample_weight=None if weight is None else np.ones(weight),
        )


def test_config_keeps_every_argument():
    metric = CohenKappa(
        3, weights="linear", sparse_y_true=False, sparse_y_pred=True, ignore_class=9
    )
    assert metric.get_config() == {
        "name": "cohen_kappa",
        "dtype": "float32",
        "num_classes": 3,
        "weights": "linear",
        "sparse_y_true": False,
        "sparse_y_pred": True,
        "regression": False,
        "ignore_class": 9,
    }


@pytest.mark.parametrize("weighted", [False, True])
def test_ignored_class_is_absent(weighted):
    y_true = np.array([0, 1, 255, 2, 255, 1], "int32")
    y_pred = np.array([0, 1, 1, 1, 2, 0], "int32")
    weights = np.arange(1.0, 7.0) if weighted else None
    kept = y_true != 255
    metric = CohenKappa(3, sparse_y_pred=True, ignore_class=255)
    metric.update_state(y_true, y_pred, sample_weight=weights)
    expected = reference.cohen_kappa(
        y_true[kept], y_pred[kept], 3, sample_weight=weights[kept] if weighted else None
    )
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


def test_ignored_class_in_fit_beside_a_loss_that_ignores_it():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])
    model.compile(
        "sgd",
        keras_ext.losses.SparseCategoricalFocalCrossentropy(ignore_class=255),
        metrics=[
            CohenKappa(3, ignore_class=255),
            keras_ext.metrics.ExpectedCalibrationError(ignore_class=255),
        ],
    )
    labels = np.array([0, 1, 2, 255] * 2, "int32")
    history = model.fit(np.ones((8, 4)), labels, verbose=0)
    assert all(np.isfinite(values).all() for values in history.history.values())

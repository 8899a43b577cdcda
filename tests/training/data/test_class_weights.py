"""`class_weight`: weights of samples or steps, or an error that names it."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from keras_ext import Trainer
from keras_ext.training.data.class_weights import ClassWeights
from tests.training.problems import LABELS

pytestmark = pytest.mark.once

TABLE = {0: 2.0, 2: 5.0}
STEPS = np.random.default_rng(0).integers(0, 3, size=(12, 5))
EXPECTED = np.array([2.0, 1.0, 5.0], "float32")


def one_hot(labels, classes=3):
    return np.eye(classes, dtype="float32")[labels]


TARGETS = {
    "labels": (LABELS, LABELS),
    "column": (LABELS[:, None], LABELS),
    "floats": (LABELS.astype("float32"), LABELS),
    "half": (tf.constant(LABELS, "bfloat16"), LABELS),
    "objects": (LABELS.astype(object), LABELS),
    "one-hot": (one_hot(LABELS), LABELS),
    "one-hot, bytes": (one_hot(LABELS).astype("uint8"), LABELS),
    "one-hot, booleans": (one_hot(LABELS) == 1, LABELS),
    "smoothed": (0.9 * one_hot(LABELS) + 0.1 / 3, LABELS),
    "steps": (STEPS, STEPS),
    "steps, column": (STEPS[..., None], STEPS),
    "steps, one-hot": (one_hot(STEPS), STEPS),
    "pixels": (STEPS.reshape(2, 6, 5), STEPS.reshape(2, 6, 5)),
    "pixels, column": (STEPS.reshape(2, 6, 5, 1), STEPS.reshape(2, 6, 5)),
    "pixels, one-hot": (one_hot(STEPS.reshape(2, 6, 5)), STEPS.reshape(2, 6, 5)),
}


class Indexed:
    """A pandas Series, as far as weights need one."""

    shape = (3,)

    def items(self):
        return iter({2: 5.0, 1: 1.0, 0: 2.0}.items())


class TestTable:
    @pytest.mark.parametrize("name", TARGETS)
    def test_weights_have_the_shape_of_the_labels(self, name):
        y, labels = TARGETS[name]
        weights = ClassWeights(TABLE)
        np.testing.assert_array_equal(weights.of_all(y), EXPECTED[labels])
        assert weights.like(y).shape == labels.shape

    @pytest.mark.parametrize(
        "given",
        [
            [2.0, 1.0, 5.0],
            (2, 1, 5),
            EXPECTED,
            tf.constant(EXPECTED),
            Indexed(),
            {np.int64(0): np.float32(2), 1.0: 1, 2: 5},
        ],
    )
    def test_lists_arrays_and_keys_that_are_whole(self, given):
        np.testing.assert_array_equal(
            ClassWeights(given).of_all(LABELS), EXPECTED[LABELS]
        )

    def test_negative_classes_and_ignored_ones(self):
        weights = ClassWeights({-1: 3.0, 1: 0.5}).of_all(np.array([-1, 1, 255]))
        np.testing.assert_array_equal(weights, [3.0, 0.5, 1.0])

    def test_probabilities_count_for_the_nearer_class(self):
        weights = ClassWeights({0: 3.0, 1: 5.0}).of_all(np.array([0.05, 0.95]))
        np.testing.assert_array_equal(weights, [3.0, 5.0])

    def test_an_empty_table_weighs_nothing(self):
        np.testing.assert_array_equal(ClassWeights({}).of_all(LABELS), 1.0)

    @pytest.mark.parametrize("name", ["labels", "one-hot", "steps"])
    def test_balanced_as_scikit_learn_has_it(self, name):
        y, labels = TARGETS[name]
        weights = compute_class_weight(
            "balanced", classes=np.arange(3), y=labels.ravel()
        )
        np.testing.assert_allclose(
            ClassWeights("balanced").of_all(y), weights[labels], rtol=1e-6
        )


class TestShapeOfTheOutput:
    """Zeros and ones alone can be labels per step as well as columns."""

    Y = np.array([[0, 1, 1], [0, 0, 1]])

    def test_labels_per_step(self):
        weights = ClassWeights({1: 5.0}, (None, 3, 2)).of_all(self.Y)
        np.testing.assert_array_equal(weights, 1.0 + 4.0 * self.Y)

    def test_a_single_step(self):
        weights = ClassWeights({1: 5.0}, (None, 1, 2)).of_all(self.Y[:, 2:])
        np.testing.assert_array_equal(weights, [[5.0], [5.0]])

    def test_rows_of_zeros_name_no_class(self):
        y = one_hot(np.array([[0, 1], [2, 0]])) * np.array([[[1], [1]], [[1], [0]]])
        for given in (TABLE, "balanced"):
            weights = ClassWeights(given, (None, 2, 3)).of_all(y)
            assert weights[1, 1] == 1.0

    @pytest.mark.parametrize("output", [None, (None, 3)])
    def test_several_classes_per_sample(self, output):
        with pytest.raises(ValueError, match="`class_weight` needs one class per samp"):
            ClassWeights({1: 5.0}, output).of_all(self.Y)

    def test_steps_without_a_last_axis(self):
        with pytest.raises(ValueError, match=r"`class_weight`.*last axis: `y\[\.\.\.,"):
            ClassWeights({1: 5.0}, (None, 3, 1)).of_all(self.Y)

    def test_batches_that_differ(self):
        weights = ClassWeights(TABLE)
        weights.of_batch(one_hot(LABELS[:3]))
        with pytest.raises(ValueError, match=r"one class per sample.* \[1.0, 1.0, 0"):
            weights.of_batch(np.array([[1.0, 1.0, 0.0]]))


class TestErrors:
    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"0": 1.0}, "keys of `class_weight` must be integers.*'0' of type str"),
            ({"cat": 1.0}, "keys of `class_weight` must be integers.*'cat'"),
            ({None: 1.0}, "keys of `class_weight` must be integers.*None"),
            ({0.5: 1.0}, "keys of `class_weight` must be integers.*0.5"),
            ({0: None}, r"`class_weight\[0\]` must be a finite number.*None"),
            ({0: "2"}, r"`class_weight\[0\]` must be a finite number"),
            ({0: np.nan}, r"`class_weight\[0\]` must be a finite number"),
            ({0: -1.0}, r"`class_weight\[0\]` must be a finite number in \[0"),
            ([1.0, [2.0]], r"`class_weight\[1\]` must be a finite number"),
            ({7: 2.0, 9: 1.0}, r"None of the classes in `class_weight`.*\[7, 9\].*\[0"),
            ([1.0, 2.0], "`class_weight` has 2 weights.*targets of class 2"),
        ],
    )
    def test_values(self, given, message):
        with pytest.raises(ValueError, match=message):
            ClassWeights(given).of_all(LABELS)

    @pytest.mark.parametrize("given", [3.0, "auto", {1}, np.eye(2)])
    def test_kinds(self, given):
        with pytest.raises(TypeError, match="`class_weight` must be a dict"):
            ClassWeights(given)

    @pytest.mark.parametrize(
        ("y", "message"),
        [
            (None, "needs a single array of targets.*NoneType"),
            ({"a": LABELS}, "needs a single array of targets.*dict"),
            (np.array(["a", "b"]), "needs targets that are numbers.*'a'"),
            (np.array(["a", "b"], object), "needs targets that are numbers.*'a'"),
            (tf.ragged.range([1, 2]), "needs targets in a dense array.*RaggedTensor"),
            (tf.sparse.from_dense(np.eye(3)), "in a dense array.*SparseTensor"),
            (np.array([0.0, 2.5]), "needs targets that are classes.*2.5"),
            (np.array([0.0, 0.5]), "needs targets that are classes.*0.5"),
            (np.array([0.0, np.nan]), "needs targets that are classes.*nan"),
            (one_hot(LABELS)[:, :2], r"0 and 1 in targets of shape \(70, 2\)"),
            (one_hot(LABELS % 2, 2), r"classes 0 to 1,.* 2 columns.*\[0, 2\]"),
        ],
    )
    def test_targets(self, y, message):
        with pytest.raises(ValueError, match=message):
            ClassWeights(TABLE).of_all(y)


def tagger():
    keras.utils.set_random_seed(3)
    trainer = Trainer(
        keras.Sequential(
            [keras.Input((5, 2)), keras.layers.Dense(3, activation="softmax")]
        )
    )
    trainer.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    return trainer


SERIES = np.random.default_rng(1).normal(size=(12, 5, 2)).astype("float32")


class Series(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = slice(4 * index, 4 * index + 4)
        return SERIES[rows], STEPS[rows]


def batched():
    return tf.data.Dataset.from_tensor_slices((SERIES, STEPS)).batch(4)


def generated(epochs=1):
    return itertools.chain.from_iterable(batched() for _ in range(epochs))


class TestFit:
    @pytest.mark.parametrize(
        "arguments",
        [
            lambda: {
                "x": SERIES,
                "y": STEPS,
                "batch_size": 4,
                "class_weight": [2, 1, 5],
            },
            lambda: {"x": batched()},
            lambda: {"x": Series()},
            lambda: {"x": generated(2), "steps_per_epoch": 3},
        ],
        ids=["arrays", "dataset", "PyDataset", "generator"],
    )
    def test_every_step_has_its_weight(self, arguments):
        expected, trainer = tagger(), tagger()
        options = {"epochs": 2, "shuffle": False, "verbose": 0}
        history = expected.model
        history.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        history = history.fit(
            SERIES, STEPS, batch_size=4, sample_weight=EXPECTED[STEPS], **options
        )
        given = {"class_weight": TABLE, **arguments(), **options}
        losses = trainer.fit(**given).history["loss"]
        np.testing.assert_allclose(losses, history.history["loss"], rtol=1e-6)
        np.testing.assert_allclose(
            trainer.get_weights()[0], expected.get_weights()[0], rtol=1e-5
        )

    def test_classes_that_no_epoch_contains(self):
        for data in (batched(), Series()):
            with pytest.raises(ValueError, match="None of the classes in `class_weigh"):
                tagger().fit(data, class_weight={7: 2.0}, verbose=0)
        with pytest.warns(UserWarning, match="None of the classes in `class_weight`"):
            tagger().fit(batched(), class_weight={7: 2.0}, steps_per_epoch=1, verbose=0)

    def test_balanced_needs_all_targets(self):
        with pytest.raises(ValueError, match="needs all targets together"):
            tagger().fit(batched(), class_weight="balanced", verbose=0)

    def test_data_with_weights_of_its_own(self):
        weighted = batched().map(lambda x, y: (x, y, y))
        with pytest.raises(ValueError, match="cannot both be given"):
            tagger().fit(weighted, class_weight=TABLE, verbose=0)

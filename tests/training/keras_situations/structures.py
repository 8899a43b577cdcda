"""Situations of inputs in structures, sparse and ragged inputs, texts."""

import keras
import numpy as np
import scipy.sparse
import tensorflow as tf

from tests.training.keras_situations.parts import (
    FIT,
    WEIGHTS,
    L,
    X,
    Y,
    all_three,
    compiled,
    endless,
    once,
    ones,
)
from tests.training.keras_situations.table import (
    DERIVED,
    WRAPPED,
    refused,
    result_or_refused,
    situation,
)


@situation()
def inputs_as_a_list(make):
    """A functional model of two inputs, given as list."""
    first, second = keras.Input((4,)), keras.Input((3,))
    model = keras.Model([first, second], L.Add()([ones()(first), ones()(second)]))
    return all_three(compiled(make, model), [X, Y], Y)


@situation()
def inputs_by_name(make):
    """The same with a dict of the inputs' names, and with one that has more."""
    first, second = keras.Input((4,), name="one"), keras.Input((3,), name="two")
    output = L.Add()([ones()(first), ones()(second)])
    model = keras.Model({"one": first, "two": second}, output)
    trained = compiled(make, model)
    return (
        all_three(trained, {"one": X, "two": Y}, Y),
        trained.predict({"two": Y, "one": X}, verbose=0),
    )


@situation(WRAPPED, DERIVED)
def inputs_as_a_tuple_of_a_class(make):
    """A class whose `call` takes a tuple apart."""

    class Sum(make.base):
        def __init__(self):
            super().__init__()
            self.first, self.second = ones(), ones()

        def call(self, inputs):
            x, y = inputs
            return self.first(x) + self.second(y)

    return all_three(compiled(make, Sum()), (X, Y), Y)


@situation(WRAPPED, DERIVED)
def inputs_and_outputs_as_dicts_of_a_class(make):
    """A class from a dict to a dict."""

    class Two(make.base):
        def __init__(self):
            super().__init__()
            self.first, self.second = ones(2), ones()

        def call(self, inputs):
            return {"b": self.second(inputs["y"]), "a": self.first(inputs["x"])}

    targets = {"a": Y[:, :2], "b": Y}
    return all_three(compiled(make, Two()), {"x": X, "y": Y}, targets)


@situation()
def inputs_nested_deeply(make):
    """A list in a dict, as a dataset too."""
    a, b, c = (
        keras.Input((n,), name=name) for n, name in zip((4, 4, 3), "abc", strict=True)
    )
    output = L.Add()([ones()(a), ones()(b), ones()(c)])
    trained = compiled(make, keras.Model({"pair": [a, b], "c": c}, output))
    x = {"pair": [X, 2 * X], "c": Y}
    data = tf.data.Dataset.from_tensor_slices(({"pair": (X, 2 * X), "c": Y}, Y)).batch(
        4
    )
    return all_three(trained, x, Y), trained.evaluate(data, verbose=0)


@situation()
def optional_inputs(make):
    """An input that may be `None`, in arrays and from a generator."""
    x, o = keras.Input((4,), name="x"), keras.Input((4,), name="o", optional=True)

    class Both(L.Layer):
        def call(self, x, o=None):
            return x if o is None else x + o

        def compute_output_shape(self, x_shape, o_shape=None):
            return x_shape

    model = keras.Model({"x": x, "o": o}, ones()(Both()(x, o)))
    trained = compiled(make, model)
    batches = (({"x": X[:4], "o": None}, Y[:4]) for _ in range(2))
    return (
        all_three(trained, {"x": X, "o": None}, Y),
        all_three(trained, {"x": X, "o": X}, Y),
        trained.evaluate(batches, verbose=0),
    )


@situation()
def a_required_input_that_is_missing(make):
    """`None` for an input that is not optional."""
    first, second = keras.Input((4,)), keras.Input((3,))
    model = keras.Model([first, second], L.Add()([ones()(first), ones()(second)]))
    return refused(lambda: compiled(make, model).fit([X, None], Y, **FIT))


@situation()
def sizes_that_do_not_fit(make):
    """Arrays of unequal length, texts, targets beside a dataset."""
    trained = compiled(make)
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)
    return [
        refused(lambda: trained.fit(X, Y[:5], **FIT)),
        refused(lambda: trained.fit("text", Y, **FIT)),
        refused(lambda: trained.fit(X, "text", **FIT)),
        refused(lambda: trained.fit(data, Y, verbose=0)),
        refused(lambda: trained.fit(data, sample_weight=WEIGHTS, verbose=0)),
        refused(lambda: trained.fit(endless(), Y, steps_per_epoch=1, verbose=0)),
        refused(lambda: trained.fit(X[:, :3], Y, **FIT)),
    ]


@situation()
def ragged_inputs(make):
    """Ragged tensors through a class, and its ragged predictions."""

    class Twice(make.base):
        def call(self, x):
            return x * 2

    def nothing(y, y_pred):
        return 0 * tf.reduce_sum(y_pred, axis=-1)

    x = tf.ragged.constant([[1.0], [2.0, 3.0], [4.0]])
    trained = make(Twice())
    trained.compile("sgd", nothing, jit_compile=False)
    predictions = trained.predict(x, verbose=0)
    return (
        trained.evaluate(x, x, batch_size=2, verbose=0),
        type(predictions).__name__,
        predictions.to_list(),
    )


def _sparse_model():
    return keras.Sequential([keras.Input((4,), sparse=True), ones()])


@situation()
def sparse_tensors(make):
    """`tf.SparseTensor` as input of all three methods."""
    x = tf.sparse.from_dense(SPARSE)
    return all_three(compiled(make, _sparse_model()), x, Y)


@situation()
def sparse_tensors_of_a_generator(make):
    """The same, batch by batch."""

    def batches():
        for x, y in once():
            yield tf.sparse.from_dense(np.where(x > 0.5, x, 0)), y

    trained = compiled(make, _sparse_model())
    return (
        trained.fit(batches(), verbose=0).history,
        trained.evaluate(batches(), verbose=0),
        trained.predict(batches(), verbose=0),
    )


SPARSE = np.where(X > 0.5, X, 0)


@situation()
def sparse_matrices_of_scipy(make):
    """CSR matrices."""
    x = scipy.sparse.csr_matrix(SPARSE)
    return all_three(compiled(make, _sparse_model()), x, Y)


@situation(
    ours=np.repeat(SPARSE.sum(axis=1, keepdims=True), 3, axis=1),
    because="Keras takes the entries of CSC matrices for sorted by rows",
)
def sparse_matrices_by_column(make):
    """CSC matrices."""
    x = scipy.sparse.csc_matrix(SPARSE)
    trained = compiled(make, _sparse_model())
    return result_or_refused(lambda: trained.predict(x, batch_size=4, verbose=0))


@situation()
def sparse_tensors_in_a_dataset(make):
    """A dataset with a sparse component."""
    x = tf.sparse.from_dense(SPARSE)
    data = tf.data.Dataset.from_tensor_slices((x, Y)).batch(4)
    return all_three(compiled(make, _sparse_model()), data, batch_size=None)


@situation()
def texts(make):
    """Strings into a StringLookup inside the model."""
    lookup = L.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
    x = keras.Input((1,), dtype="string")
    trained = compiled(make, keras.Model(x, ones()(lookup(x))))
    words = np.array([["a"], ["b"], ["c"]] * 4)
    return trained.predict(tf.constant(words), batch_size=4, verbose=0)

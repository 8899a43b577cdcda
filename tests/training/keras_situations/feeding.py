"""Situations of data: arrays, datasets, generators, structures, sparse and ragged."""

import keras
import numpy as np
import tensorflow as tf

from tests.training.keras_situations.parts import (
    FIT,
    LABELS,
    WEIGHTS,
    Batches,
    L,
    X,
    Y,
    all_three,
    classifier,
    compiled,
    dense,
    once,
    ones,
)
from tests.training.keras_situations.table import (
    refused,
    result_or_refused,
    situation,
)


@situation()
def arrays_of_float64(make):
    """Float64 arrays become float32."""
    return all_three(compiled(make), X.astype("float64"), Y.astype("float64"))


@situation()
def tensors(make):
    """TensorFlow's tensors, without a batch size (one batch of 32)."""
    trained = compiled(make)
    x, y = tf.constant(X), tf.constant(Y)
    return trained.fit(x, y, shuffle=False, verbose=0).history, trained.predict(x)


@situation()
def variables(make):
    """Variables of Keras and of TensorFlow as data."""
    return all_three(compiled(make), keras.Variable(X), tf.Variable(Y))


@situation()
def images_of_uint8(make):
    """Integers stay integers up to the model."""
    seen = []

    class Cast(L.Layer):
        def call(self, x):
            seen.append(keras.backend.standardize_dtype(x.dtype))
            return keras.ops.cast(x, "float32") / 255.0

    x = (np.abs(X) * 60).astype("uint8")
    model = keras.Sequential([keras.Input((4,), dtype="uint8"), Cast(), ones()])
    return all_three(compiled(make, model), x, Y), sorted(set(seen))


@situation()
def labels_of_bool(make):
    """Boolean targets for a binary loss and metric."""
    model = keras.Sequential([keras.Input((4,)), ones(1, activation="sigmoid")])
    trained = compiled(
        make, model, loss="binary_crossentropy", metrics=["accuracy", "binary_accuracy"]
    )
    return trained.fit(X, Y[:, :1] > 0, **FIT).history


@situation()
def labels_of_int64_and_float(make):
    """Class numbers of several kinds give the same numbers."""
    results = []
    for dtype in ("int64", "int32", "uint8", "float32"):
        trained = compiled(
            make,
            classifier(),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        results.append(trained.evaluate(X, LABELS.astype(dtype), verbose=0))
    return results


@situation()
def numbers_without_an_axis(make):
    """Inputs and targets of shape (batch,) get an axis where the model needs one."""
    trained = compiled(make, dense(1, features=1))
    return all_three(trained, X[:, 0], Y[:, 0])


@situation()
def a_dataset(make):
    """A dataset of (x, y) batches, the last one smaller."""
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(5)
    return all_three(compiled(make), data, batch_size=None)


@situation()
def a_dataset_with_weights(make):
    """A dataset of (x, y, weights)."""
    data = tf.data.Dataset.from_tensor_slices((X, Y, WEIGHTS)).batch(4)
    trained = compiled(make, weighted_metrics=["mae"])
    return all_three(trained, data, batch_size=None)


@situation()
def a_dataset_of_unknown_size(make):
    """A dataset made from a generator, two epochs."""
    signature = (tf.TensorSpec((None, 4)), tf.TensorSpec((None, 3)))
    data = tf.data.Dataset.from_generator(once, output_signature=signature)
    trained = compiled(make)
    return trained.fit(data, epochs=2, shuffle=False, verbose=0).history


@situation()
def a_dataset_of_uneven_batches(make):
    """Batches of 2, 3, 4, 3: their order is kept, samples count equally."""

    def uneven():
        for first, last in ((0, 2), (2, 5), (5, 9), (9, 12)):
            yield X[first:last], Y[first:last]

    signature = (tf.TensorSpec((None, 4)), tf.TensorSpec((None, 3)))
    data = tf.data.Dataset.from_generator(uneven, output_signature=signature)
    return all_three(compiled(make), data, batch_size=None)


@situation()
def a_generator_of_one_epoch(make):
    """A generator that ends."""
    trained = compiled(make)
    return (
        trained.fit(once(), verbose=0).history,
        trained.evaluate(once(), verbose=0),
        trained.predict(once(), verbose=0),
    )


@situation()
def a_generator_of_inputs_alone(make):
    """`predict` on batches `(x,)`."""
    return compiled(make).predict(((X[at : at + 4],) for at in (0, 4, 8)), verbose=0)


@situation(
    ours=np.repeat(X.sum(axis=1, keepdims=True), 3, axis=1),
    because="Keras asks for a tuple of one; an array in its place is not ambiguous",
)
def a_generator_of_bare_arrays(make):
    """`predict` on batches that are not in a tuple."""
    batches = (X[at : at + 4] for at in (0, 4, 8))
    return result_or_refused(lambda: compiled(make).predict(batches, verbose=0))


@situation(ours=True, because="the batches have a size already: documented")
def a_batch_size_for_batches(make):
    """`batch_size` beside a dataset."""
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)
    trained = compiled(make)
    return refused(lambda: trained.fit(data, batch_size=3, shuffle=False, verbose=0))


@situation()
def a_generator_of_changing_shapes(make):
    """Batches whose length in time differs."""

    def batches():
        for length in (2, 5, 3):
            x = np.ones((2, length, 4), "float32")
            yield x, np.zeros((2, length, 3), "float32")

    trained = compiled(make, keras.Sequential([keras.Input((None, 4)), ones()]))
    return (
        trained.fit(batches(), verbose=0).history,
        trained.evaluate(batches(), verbose=0),
    )


@situation()
def an_empty_generator(make):
    """No batch at all."""
    trained = compiled(make)
    return [
        refused(lambda: trained.fit(iter(()), verbose=0)),
        refused(lambda: trained.evaluate(iter(()), verbose=0)),
        refused(lambda: trained.predict(iter(()), verbose=0)),
    ]


@situation()
def a_pydataset(make):
    """A PyDataset in its own order."""
    return all_three(compiled(make), Batches(), batch_size=None)


@situation(
    ours=["begin", "end", "begin", "end"],
    because="Keras ends an epoch before the first one begins",
)
def the_epochs_of_a_pydataset(make):
    """The hooks of a PyDataset in two epochs."""
    trained, data = compiled(make), Batches()
    trained.fit(data, epochs=2, shuffle=False, verbose=0)
    return data.hooks


@situation()
def a_pydataset_read_by_threads(make):
    """Two workers deliver the batches in order."""
    return all_three(compiled(make), Batches(workers=2), batch_size=None)


@situation()
def a_pydataset_without_an_end(make):
    """`num_batches` is `None`."""
    trained, data = compiled(make), Batches(endless=True)
    fit = {"steps_per_epoch": 2, "epochs": 3, "shuffle": False, "verbose": 0}
    return trained.fit(data, **fit).history


@situation()
def a_pydataset_that_fails(make):
    """An error in `__getitem__` reaches the caller."""

    class Broken(Batches):
        def __getitem__(self, index):
            if index == 1:
                raise ValueError("broken")
            return super().__getitem__(index)

    trained = compiled(make)
    return [
        refused(lambda data=data: trained.fit(data, shuffle=False, verbose=0))
        for data in (Broken(), Broken(workers=2))
    ]

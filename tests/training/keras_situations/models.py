"""Situations of models: state, masks, precision, added losses, models in models."""

import keras
import numpy as np

from tests.training.keras_situations.parts import (
    FIT,
    LABELS,
    MSE,
    L,
    X,
    Y,
    ones,
    with_validation,
)
from tests.training.keras_situations.table import (
    DERIVED,
    WRAPPED,
    situation,
    warned,
)

UNCOMPILED_BY_XLA = {"jit_compile": False}


@situation(WRAPPED, DERIVED)
def normalization_by_batch(make):
    """BatchNormalization: its statistics move in training and serve in evaluation."""
    model = keras.Sequential([keras.Input((4,)), L.BatchNormalization(), ones()])
    trained = make(model)
    trained.compile(**MSE)
    return with_validation(trained), [np.round(w, 5) for w in trained.get_weights()]


@situation()
def dropout(make):
    """Dropout with a seed draws the same as in stock Keras."""
    model = keras.Sequential([keras.Input((4,)), L.Dropout(0.5, seed=1), ones()])
    trained = make(model)
    trained.compile(**MSE)
    return with_validation(trained)


@situation(WRAPPED, DERIVED)
def the_training_argument(make):
    """`training` is true in `fit` and false in `evaluate` and `predict`."""

    class OnlyInTraining(make.base):
        def call(self, x, training=False):
            return x if training else 0 * x

    trained = make(OnlyInTraining())
    trained.compile(**MSE)
    x, y = np.ones((8, 1), "float32"), np.zeros((8, 1), "float32")
    return warned(lambda: with_validation(trained, x, y))


@situation(WRAPPED, DERIVED)
def a_counter_in_the_model(make):
    """A variable that `call` counts up; its value at the end of every batch."""

    class Counting(make.base):
        def __init__(self):
            super().__init__()
            self.top = ones()
            self.count = self.add_weight(
                shape=(), initializer="zeros", trainable=False, name="count"
            )

        def call(self, x):
            self.count.assign_add(1.0)
            return self.top(x)

    class Look(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seen = []

        def on_train_batch_end(self, batch, logs=None):
            self.seen.append(float(model.count))

    model, look = Counting(), Look()
    model(X)
    trained = make(model)
    trained.compile(**MSE)
    before = float(model.count)
    trained.fit(X, Y, **FIT, epochs=2, callbacks=[look])
    return [count - before for count in look.seen]


@situation()
def constraints_and_penalties(make):
    """A constraint on a kernel, penalties on weights and activity."""
    layer = L.Dense(
        3,
        kernel_constraint="non_neg",
        kernel_regularizer=keras.regularizers.L2(0.1),
        activity_regularizer=keras.regularizers.L1(0.01),
    )
    trained = make(keras.Sequential([keras.Input((4,)), layer]))
    trained.compile("rmsprop", "mse", metrics=["mse"], **UNCOMPILED_BY_XLA)
    return with_validation(trained), trained.get_weights(), len(trained.losses)


class Penalty(L.Layer):
    """Adds a loss."""

    def call(self, x):
        self.add_loss(0.1 * keras.ops.sum(keras.ops.square(x)))
        return x


@situation(WRAPPED, DERIVED)
def a_loss_added_by_a_layer(make):
    """`add_loss` beside a compiled loss."""
    trained = make(keras.Sequential([keras.Input((4,)), ones(), Penalty()]))
    trained.compile(**MSE, metrics=["mse"])
    return with_validation(trained)


@situation(WRAPPED, DERIVED)
def only_a_loss_added_by_a_layer(make):
    """`add_loss` and no compiled loss, with validation."""
    trained = make(keras.Sequential([keras.Input((4,)), ones(), Penalty()]))
    trained.compile("sgd", **UNCOMPILED_BY_XLA)
    return with_validation(trained)


@situation(WRAPPED, DERIVED)
def only_a_loss_added_by_a_class(make):
    """The same in a class, without targets."""

    class Auto(make.base):
        def __init__(self):
            super().__init__()
            self.top = ones(4)

        def call(self, x):
            out = self.top(x)
            self.add_loss(keras.ops.mean(keras.ops.square(out - x)))
            return out

    trained = make(Auto())
    trained.compile("sgd", **UNCOMPILED_BY_XLA)
    return trained.fit(X, **FIT, epochs=2).history, trained.evaluate(X, verbose=0)


@situation(WRAPPED, DERIVED)
def a_metric_of_a_layer(make):
    """A metric that a layer updates is logged."""

    class Mean(L.Layer):
        def __init__(self):
            super().__init__()
            self.mean = keras.metrics.Mean(name="activity")

        def call(self, x):
            self.mean.update_state(x)
            return x

    trained = make(keras.Sequential([keras.Input((4,)), Mean(), ones()]))
    trained.compile(**MSE, metrics=["mae"])
    return with_validation(trained)


@situation(WRAPPED, DERIVED)
def a_metric_of_the_model(make):
    """A metric that is an attribute of the model and never updated."""

    class Own(make.base):
        def __init__(self):
            super().__init__()
            self.top = ones()
            self.own = keras.metrics.Mean(name="own")

        def call(self, x):
            return self.top(x)

    trained = make(Own())
    trained.compile(**MSE, metrics=["mse"])
    history = trained.fit(X, Y, **FIT).history
    return history, [metric.name for metric in trained.metrics]


@situation()
def masks_from_an_embedding(make):
    """Steps masked by an Embedding count neither in the loss nor in the metrics."""
    model = keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            L.Embedding(5, 3, mask_zero=True, embeddings_initializer="ones"),
            L.Dense(2, kernel_initializer="ones"),
        ]
    )
    x = np.array([[1, 2, 0, 0], [3, 4, 1, 0], [2, 0, 0, 0]])
    y = np.arange(24, dtype="float32").reshape(3, 4, 2)
    trained = make(model)
    trained.compile(**MSE, metrics=["mae"], weighted_metrics=["mse"])
    fit = trained.fit(x, y, batch_size=2, shuffle=False, verbose=0)
    return fit.history, trained.evaluate(x, y, verbose=0)


@situation()
def masks_and_weights(make):
    """A Masking layer before an LSTM that returns sequences, with weights."""
    x = X.reshape(6, 2, 4).copy()
    x[::2, 1] = 0
    model = keras.Sequential(
        [keras.Input((2, 4)), L.Masking(), L.LSTM(3, return_sequences=True)]
    )
    trained = make(model)
    trained.compile(**MSE, weighted_metrics=["mae"])
    y, weights = Y.reshape(6, 2, 3), np.arange(12.0).reshape(6, 2)
    return (
        trained.fit(x, y, sample_weight=weights, **FIT).history,
        trained.evaluate(x, y, sample_weight=weights, verbose=0),
    )


@situation()
def half_precision(make):
    """`mixed_float16` scales the loss unless told not to, `mixed_bfloat16` never."""
    results = []
    for policy, options in (
        ("mixed_float16", {}),
        ("mixed_float16", {"auto_scale_loss": False}),
        ("mixed_bfloat16", {}),
    ):
        model = keras.Sequential(
            [keras.Input((4,), dtype="float32"), ones(dtype=policy)], name="half"
        )
        model = keras.Model(model.inputs, model.outputs)
        trained = make(model)
        trained.compile(keras.optimizers.RMSprop(), "mse", **options)
        results.append(type(trained.optimizer).__name__)
    return results


@situation()
def half_precision_as_the_global_policy(make):
    """A model made under `mixed_float16`, trained for an epoch."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        trained = make(keras.Sequential([keras.Input((4,)), ones()]))
        trained.compile("sgd", "mse", **UNCOMPILED_BY_XLA)
        history = trained.fit(X, Y, **FIT).history
        kind, predictions = type(trained.optimizer).__name__, trained.predict(X)
    finally:
        keras.config.set_dtype_policy(before)
    return kind, np.round(history["loss"], 2), str(predictions.dtype)


@situation()
def a_loss_scale_saves_small_gradients(make):
    """Fifteen sigmoids in half precision: gradients vanish without a loss scale."""
    results = []
    for scaled in (False, True):
        layers = [
            ones(1, activation="sigmoid", dtype="mixed_float16") for _ in range(15)
        ]
        trained = make(keras.Sequential([keras.Input((1,)), *layers]))
        optimizer = keras.optimizers.SGD(1e9)
        if scaled:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        trained.compile(optimizer, "mse", auto_scale_loss=False, **UNCOMPILED_BY_XLA)
        one = np.ones((1, 1), "float32")
        trained.fit(one, one, verbose=0)
        results.append(bool(layers[0].get_weights()[0] == 1.0))
    return results


@situation()
def a_model_built_by_its_data(make):
    """A Sequential without an input: built by `fit`, with weights to count."""
    trained = make(keras.Sequential([ones(2), ones()]))
    trained.compile(**MSE)
    before = trained.built
    return before, with_validation(trained), trained.built, trained.count_params()


@situation()
def a_recurrent_network(make):
    """An LSTM with state from its initializers."""
    model = keras.Sequential(
        [keras.Input((2, 4)), L.LSTM(3, kernel_initializer="ones")]
    )
    trained = make(model)
    trained.compile("adam", "mse", **UNCOMPILED_BY_XLA)
    return with_validation(trained, X.reshape(6, 2, 4), Y[:6])


@situation()
def a_part_is_frozen(make):
    """A layer frozen before `compile` keeps its weights."""
    model = keras.Sequential([keras.Input((4,)), ones(), ones()])
    model.layers[0].trainable = False
    trained = make(model)
    trained.compile(**MSE)
    return (
        with_validation(trained),
        trained.get_weights(),
        len(trained.trainable_weights),
        len(trained.non_trainable_weights),
    )


@situation()
def labels_for_several_metrics(make):
    """Class numbers with accuracy and top-k in a softmax over 3 classes."""
    model = keras.Sequential([keras.Input((4,)), L.Dense(3, "softmax")])
    trained = make(model)
    trained.compile(
        "adam",
        "sparse_categorical_crossentropy",
        metrics=[
            "accuracy",
            "sparse_categorical_accuracy",
            keras.metrics.SparseTopKCategoricalAccuracy(k=2),
        ],
        **UNCOMPILED_BY_XLA,
    )
    return with_validation(trained, X, LABELS)

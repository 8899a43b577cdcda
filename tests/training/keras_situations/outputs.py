"""Situations of losses and metrics: their names, several outputs, what is refused."""

import collections

import keras
import numpy as np

from tests.training.keras_situations.parts import (
    FIT,
    WEIGHTS,
    A,
    B,
    L,
    X,
    Y,
    dense,
    ones,
    two_outputs,
)
from tests.training.keras_situations.table import (
    DERIVED,
    WRAPPED,
    refused,
    result_or_refused,
    situation,
    warned,
)

mse, mae = keras.losses.mean_squared_error, keras.losses.mean_absolute_error


def _trained(make, model, **options):
    trained = make(model)
    trained.compile(optimizer="sgd", jit_compile=False, **options)
    return trained


def _fit(make, model, y, sample_weight=None, x=X, **options):
    """The history, and the results of `evaluate` in their order."""
    trained = _trained(make, model, **options)
    return (
        trained.fit(x, y, sample_weight=sample_weight, **FIT).history,
        trained.evaluate(x, y, sample_weight=sample_weight, verbose=0),
    )


@situation(WRAPPED, DERIVED)
def names_as_they_were_written(make):
    """`"acc"`, `"accuracy"`, `"mse"` and a function: each under its own name."""

    def spread(y_true, y_pred):
        return keras.ops.max(y_pred, axis=-1) - keras.ops.min(y_pred, axis=-1)

    metrics = ["acc", "accuracy", "mse", spread, keras.metrics.MeanAbsoluteError()]
    return _fit(make, dense(), Y, loss="mae", metrics=metrics)


@situation()
def two_metrics_of_one_name(make):
    """The same metric twice."""
    metrics = [keras.metrics.MeanSquaredError(), keras.metrics.MeanSquaredError()]
    return _fit(make, dense(), Y, loss="mse", metrics=metrics)


@situation()
def weighted_metrics_of_the_same_name(make):
    """A metric both weighted and not is told apart by a prefix."""
    metrics = {"metrics": ["mse", "mae"], "weighted_metrics": ["mse", "mape"]}
    return _fit(make, dense(), Y, WEIGHTS, loss="mse", **metrics)


@situation()
def losses_by_name(make):
    """Losses given as text, with the metrics that Keras derives from them."""
    results = []
    for loss, y in (
        ("binary_crossentropy", (Y > 0).astype("float32")),
        ("hinge", np.sign(Y)),
        ("crossentropy", np.abs(Y) / np.abs(Y).sum(axis=1, keepdims=True)),
    ):
        model = keras.Sequential([keras.Input((4,)), ones(activation="sigmoid")])
        trained = _trained(make, model, loss=loss, metrics=["accuracy"])
        results.append(trained.evaluate(X, y, verbose=0, return_dict=True))
    return results


@situation()
def one_output_with_all_forms_of_loss(make):
    """A single output `a`: loss as text, list, dict, dict of list."""
    results = []
    for loss in ("mse", ["mse"], {"a": "mse"}, {"a": ["mse"]}):
        x = keras.Input((4,))
        model = keras.Model(x, ones(1, name="a")(x))
        metrics = {"metrics": {"a": ["mse", "mae"]}, "weighted_metrics": {"a": "mse"}}
        trained = _trained(make, model, loss=loss, **metrics)
        results.append(trained.evaluate(X, A, verbose=0, return_dict=True))
    return results


@situation()
def one_output_in_a_list_and_in_a_dict(make):
    """The same where the model returns a list or a dict of one."""
    results = []
    for kind in (lambda one: [one], lambda one: {"a": one}):
        x = keras.Input((4,))
        model = keras.Model(x, kind(ones(1, name="a")(x)))
        trained = _trained(make, model, loss={"a": "mse"}, metrics={"a": ["mae"]})
        results.append(trained.evaluate(X, A, verbose=0, return_dict=True))
        results.append(trained.predict(X, verbose=0))
    return results


@situation()
def two_outputs_losses_in_a_list(make):
    """Lists of losses, weights and metrics."""
    return _fit(
        make,
        two_outputs(),
        [A, B],
        loss=["mse", "bce"],
        metrics=["mse", ["mse", "acc"]],
        loss_weights=[0.1, 2],
    )


@situation()
def two_outputs_losses_by_name(make):
    """Dicts by the outputs' names for a model that returns a list."""
    return _fit(
        make,
        two_outputs(),
        (A, B),
        loss={"a": "mse", "b": "binary_crossentropy"},
        metrics={"b": ["mse", "accuracy"], "a": ["mse"]},
        weighted_metrics={"a": ["mse"], "b": ["accuracy"]},
        loss_weights={"a": 0.5, "b": 2.0},
    )


@situation()
def two_outputs_in_a_dict(make):
    """Dicts for a model that returns a dict."""
    return _fit(
        make,
        two_outputs(dict),
        {"a": A, "b": B},
        loss={"a": "mse", "b": ["bce"]},
        metrics={"a": ["mse"], "b": ["mse", "accuracy"]},
        weighted_metrics={"a": ["mse"], "b": ["mse", "accuracy"]},
    )


@situation(DERIVED)
def two_outputs_of_a_class(make):
    """A class that returns a dict, with losses and metrics by its keys."""

    class Two(make.base):
        def __init__(self):
            super().__init__()
            self.first, self.second = ones(1), ones(1, activation="sigmoid")

        def call(self, x):
            return {"a": self.first(x), "b": self.second(x)}

    return _fit(
        make,
        Two(),
        {"a": A, "b": B},
        loss={"a": "mse", "b": "bce"},
        metrics={"a": ["mae"], "b": ["accuracy"]},
        loss_weights={"a": 0.1, "b": 0.2},
    )


@situation()
def one_loss_for_two_outputs(make):
    """One loss counts for each output."""
    return (
        _fit(make, two_outputs(), [A, B], loss="mse", metrics=[["mae"], ["mae"]]),
        _fit(make, two_outputs(dict), {"a": A, "b": B}, loss="mse"),
    )


@situation()
def targets_as_a_dict_for_a_list(make):
    """Targets by name for a model that returns a list."""
    options = {"loss": ["mse", "mae"], "metrics": {"b": "mse", "a": "mae"}}
    return _fit(make, two_outputs(), {"b": B, "a": A}, **options)


@situation()
def an_output_without_a_loss(make):
    """A loss for one output of two."""
    lists = {"y": [A, B], "loss": ["mse", None]}
    names = {"y": {"a": A, "b": B}, "loss": {"b": "bce"}}
    return [
        warned(lambda: _fit(make, two_outputs(list), **lists)),
        warned(lambda: _fit(make, two_outputs(dict), **names)),
    ]


@situation()
def targets_for_the_outputs_with_a_loss(make):
    """Targets only where there is a loss."""
    x = keras.Input((4,))
    model = keras.Model(x, [ones(1, name=name)(x) for name in "abc"])
    results = []
    for losses, y in (
        (["mse", None, None], A),
        ([None, None, "mse"], A),
        ([None, "mse", "mae"], [A, B]),
        (["mse", None, "mae"], [A, B]),
    ):
        trained = _trained(make, model, loss=losses)
        results.append(trained.evaluate(X, y, verbose=0, return_dict=True))
    return results


@situation()
def one_tensor_that_is_two_outputs(make):
    """The same tensor under two names."""
    x = keras.Input((4,))
    output = ones(1)(x)
    model = keras.Model(x, {"a": output, "b": output})
    return _fit(make, model, (A, B), loss={"a": "mse", "b": "mae"})


@situation()
def weights_for_each_output(make):
    """Sample weights as list and as dict."""
    weights = WEIGHTS, WEIGHTS[::-1].copy()
    options = {"weighted_metrics": ["mae", "mae"], "loss": ["mse", "bce"]}
    named = {"loss": {"a": "mse", "b": "bce"}, "weighted_metrics": {"b": "mae"}}
    by_name = dict(zip("ab", weights, strict=True))
    return (
        _fit(make, two_outputs(), [A, B], list(weights), **options),
        _fit(make, two_outputs(dict), {"a": A, "b": B}, by_name, **named),
    )


@situation()
def a_weight_for_the_only_loss(make):
    """`loss_weights` as a number."""
    return _fit(make, dense(), Y, loss="mse", metrics=["mse"], loss_weights=0.2)


@situation()
def loss_weights_as_arrays(make):
    """An array of weights for the samples of each output."""
    weights = {"a": np.ones(1), "b": np.zeros(1)}
    loss = {"a": "mse", "b": "mse"}
    y = {"a": A, "b": B}
    return _fit(make, two_outputs(dict), y, loss=loss, loss_weights=weights)


def _sum_of_distances(y_true, y_pred):
    pairs = zip(keras.tree.flatten(y_true), keras.tree.flatten(y_pred), strict=True)
    return sum(mae(*pair) for pair in pairs)


@situation()
def a_loss_over_the_whole_structure(make):
    """A loss of both outputs together beside one for each."""
    loss = [_sum_of_distances, (mse, mae)]
    return _fit(make, two_outputs(tuple), (A, B), loss=loss, loss_weights=[1, (2, 3)])


@situation()
def a_named_tuple_of_outputs(make):
    """Outputs, targets and losses as a named tuple."""
    Pair = collections.namedtuple("Pair", "a b")
    x = keras.Input((4,))
    model = keras.Model(x, Pair(ones(1, name="a")(x), ones(1, name="b")(x)))
    return _fit(make, model, Pair(A, B), loss=Pair("mse", "mae"))


def _nested():
    """A tuple and a dict in a dict."""
    x = keras.Input((4,))
    a, b, c, d = (ones(1, name=name)(x) for name in "abcd")
    return keras.Model(x, {"one": (a, b), "two": {"c": c, "d": d}})


NESTED = {"one": (A, B), "two": {"c": A, "d": B}}


@situation()
def outputs_nested_deeply(make):
    """A tuple and a dict in a dict, with losses of the same structure."""
    loss = {"one": ("mse", "mae"), "two": {"c": "mae", "d": "mse"}}
    return _fit(make, _nested(), NESTED, loss=loss)


@situation()
def metrics_nested_deeply(make):
    """The same for metrics, which older versions of Keras refuse."""
    metrics = {"one": ("mae", "mse"), "two": {"c": "mse", "d": "mae"}}
    trained = _trained(make, _nested(), loss="mse", metrics=metrics)
    return result_or_refused(lambda: trained.evaluate(X, NESTED, verbose=0))


@situation()
def losses_with_unknown_names(make):
    """Names that no output has, in losses and metrics, for lists and dicts."""
    answers = []
    for kind, y in ((list, [A, B]), (dict, {"a": A, "b": B})):
        for options in (
            {"loss": {"a": "mse", "c": "mse"}},
            {"loss": {"a": "mse", "b": "mse"}, "metrics": {"c": ["mse"]}},
            {"loss": ["mse", "mse", "mse"]},
            {"loss": {"a": "mse", "b": "mse"}, "loss_weights": [1.0]},
            {"loss": {"a": "no_such_loss"}},
        ):
            run = lambda kind=kind, y=y, options=options: _fit(  # noqa: E731
                make, two_outputs(kind), y, **options
            )
            answers.append(refused(run))
    return answers


@situation()
def targets_of_another_structure(make):
    """One target for two outputs with losses, none, or too many."""
    trained = _trained(make, two_outputs(), loss=["mse", "mse"])
    return [
        refused(lambda y=y: trained.evaluate(X, y, verbose=0))
        for y in ([A], None, [A, B, A])
    ]


@situation()
def no_targets(make):
    """A loss and no targets."""
    trained = _trained(make, dense(), loss="mse")
    return refused(lambda: trained.fit(X, **FIT))


@situation()
def a_loss_written_as_a_class(make):
    """A subclass of `keras.losses.Loss` with a name, and one as a lambda."""

    class Cubic(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return keras.ops.mean(keras.ops.abs(y_true - y_pred) ** 3, axis=-1)

    return (
        _fit(make, dense(), Y, WEIGHTS, loss=Cubic()),
        _fit(make, dense(), Y, WEIGHTS, loss=lambda y, p: keras.ops.mean(p, axis=-1)),
    )


@situation()
def the_loss_as_a_metric_object(make):
    """AUC, precision at thresholds and top-k, which keep state of several shapes."""
    model = keras.Sequential([keras.Input((4,)), L.Dense(3, "sigmoid")])
    metrics = [
        keras.metrics.AUC(num_thresholds=20),
        keras.metrics.Precision(thresholds=[0.3, 0.6]),
        keras.metrics.TopKCategoricalAccuracy(k=2),
        keras.metrics.F1Score(average="macro"),
    ]
    y = (Y > 0).astype("float32")
    trained = _trained(make, model, loss="bce", metrics=metrics)
    return trained.evaluate(X, y, batch_size=5, verbose=0, return_dict=True)

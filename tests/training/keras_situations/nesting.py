"""Situations of models in models, and of what a trained object shows."""

import keras

from tests.training.keras_situations.parts import (
    FIT,
    MSE,
    L,
    X,
    Y,
    dense,
    ones,
    with_validation,
)
from tests.training.keras_situations.table import (
    DERIVED,
    WRAPPED,
    refused,
    situation,
    warned,
)


def _compiled_inside():
    inner = dense(3)
    inner.compile("sgd", "mse", metrics=["mae"])
    return inner


@situation(WRAPPED, DERIVED)
def a_compiled_model_inside(make):
    """A model with a compiled one inside: its loss and metrics are left alone."""
    inner = _compiled_inside()
    trained = make(keras.Sequential([keras.Input((4,)), inner, ones()]))
    trained.compile(**MSE, metrics=["mae"])
    return with_validation(trained), [metric.name for metric in trained.metrics]


@situation()
def a_compiled_model_evaluated_before(make):
    """The inner model was evaluated before, and after."""
    inner = _compiled_inside()
    first = inner.evaluate(X, Y, verbose=0)
    x = keras.Input((4,))
    trained = make(keras.Model(x, ones()(inner(x))))
    trained.compile(**MSE, metrics=["mse"])
    second = trained.fit(X, Y, **FIT).history
    return first, second, inner.evaluate(X, Y, verbose=0), trained.train_on_batch(X, Y)


@situation()
def a_compiled_model_nested_twice(make):
    """A compiled model in a compiled model."""
    inner = _compiled_inside()
    middle = keras.Sequential([keras.Input((4,)), inner, ones()])
    middle.compile("sgd", "mae", metrics=["mse"])
    trained = make(keras.Sequential([keras.Input((4,)), middle, ones()]))
    trained.compile(**MSE, metrics=["mae"])
    return with_validation(trained), [metric.name for metric in trained.metrics]


@situation()
def one_part_in_two_models(make):
    """Two trained objects share a compiled part, and are trained in turn."""
    shared = _compiled_inside()
    trained = [
        make(keras.Sequential([keras.Input((4,)), shared, ones()])) for _ in range(2)
    ]
    for one in trained:
        one.compile(**MSE, metrics=["mae"])
    return [one.fit(X, Y, **FIT).history for one in (*trained, *trained)]


@situation()
def a_layer_after_quantization(make):
    """After `quantize("int8")`, predictions are the quantized model's."""
    model = keras.Sequential([keras.Input((4,)), L.Dense(3)])
    trained = make(model)
    trained.compile(**MSE)
    before = trained.predict(X, verbose=0)
    warned(lambda: trained.quantize("int8"))
    after = trained.predict(X, verbose=0)
    return before, after, bool((before != after).any())


@situation()
def a_layer_with_lora(make):
    """After `enable_lora` and another `compile`, the small matrices are trained."""
    model = keras.Sequential([keras.Input((4,)), L.Dense(3)])
    trained = make(model)
    trained.compile(**MSE)
    trained.fit(X, Y, **FIT)
    model.layers[0].enable_lora(2)
    trained.compile(**MSE)
    history = trained.fit(X, Y, **FIT).history
    return [w.shape for w in trained.trainable_weights], list(history)


@situation()
def what_a_functional_model_shows(make):
    """Inputs, outputs, shapes and layers of the trained object."""
    x = keras.Input((4,), name="x")
    trained = make(keras.Model(x, ones(name="top")(x)))
    return (
        [tensor.name for tensor in trained.inputs],
        [tuple(tensor.shape) for tensor in trained.outputs],
        trained.input_shape,
        trained.output_shape,
        [layer.name for layer in trained.layers],
        trained.get_layer("top").name,
        trained.get_layer(index=1).name,
        trained.input.name,
        trained.output_names,
        refused(lambda: trained.get_layer("none")),
    )


@situation()
def shapes_and_counts(make):
    """`compute_output_shape`, `count_params`, weights and variables by name."""
    trained = make(keras.Sequential([keras.Input((4,)), ones(name="top")]))
    trained.compile(**MSE)
    trained.fit(X, Y, **FIT)
    return (
        trained.compute_output_shape((5, 4)),
        trained.count_params(),
        [variable.path for variable in trained.trainable_variables],
        [variable.name for variable in trained.optimizer.variables],
    )

"""The metrics of a model's layers, without those of models among them."""

from collections.abc import Iterator
from typing import Any

import keras


def without_nested(model: keras.Model, wrapped: Any, metrics: list[Any]) -> list[Any]:
    """Return `metrics`, each once, without those of models inside the trained one.

    A model that is a layer of another, such as a compiled backbone, keeps its loss and
    its metrics for its own `fit`. `keras.Layer.metrics` includes them nevertheless, and
    so does `keras.Model.metrics` if there is a layer between the two models.

    Args:
        model: The model that is trained.
        wrapped: The model that it wraps, or `None`.
        metrics: The metrics that Keras finds in both.
    """
    found = list({id(one): one for one in metrics}.values())
    if not found:
        return found
    trained = [one for one in (wrapped, model) if one is not None]
    seen = {id(one) for one in trained}
    layers = [layer for one in trained for layer in _with_metrics(one, seen)]
    nested = [layer for layer in layers if isinstance(layer, keras.Model)]
    of_nested = {
        id(one)
        for layer in nested
        for one in (
            *keras.Model.metrics.fget(layer),
            *keras.layers.Layer.metrics.fget(layer),
        )
    }
    of_layers = {
        id(one)
        for layer in layers
        if not isinstance(layer, keras.Model)
        for one in _held(layer, keras.Metric)
    }
    return [one for one in found if id(one) in of_layers or id(one) not in of_nested]


def _with_metrics(layer: Any, seen: set[int]) -> Iterator[Any]:
    """Yield all layers inside `layer` that have metrics, or layers with some."""
    for inner in _held(layer, keras.layers.Layer):
        if id(inner) not in seen and inner.metrics:
            seen.add(id(inner))
            yield inner
            yield from _with_metrics(inner, seen)


def _held(layer: Any, kind: type) -> Iterator[Any]:
    """Yield attributes that are a `kind`, including items of lists of them."""
    for value in vars(layer).values():
        if isinstance(value, kind):
            yield value
        # The first item shows what a list is for: one of plain data may be long.
        elif isinstance(value, list) and value and isinstance(value[0], kind):
            yield from (item for item in value if isinstance(item, kind))

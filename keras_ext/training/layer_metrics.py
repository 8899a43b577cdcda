"""The metrics that layers of a model have, without those of models among them."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras


def without_nested(model: keras.Model, metrics: list[Any]) -> list[Any]:
    """Return `metrics`, each once, without those of models inside `model`.

    A model that is a layer of another, a compiled backbone for instance, keeps its loss
    and its metrics for its own `fit`. `keras.Layer.metrics` counts them all the same,
    and `keras.Model.metrics` does where a layer lies between the two models.

    Args:
        model: The model that is trained.
        metrics: What Keras finds in it, and in the models that are one with it.
    """
    found = list({id(one): one for one in metrics}.values())
    if not found:
        return found
    layers = list(_with_metrics(model, set()))
    of_layers = {
        id(one)
        for layer in layers
        if not isinstance(layer, keras.Model)
        for one in _held(layer, keras.Metric)
    }
    nested = {
        id(one)
        for layer in layers
        if isinstance(layer, keras.Model)
        for one in (
            *keras.Model.metrics.fget(layer),
            *keras.layers.Layer.metrics.fget(layer),
        )
    }
    return [one for one in found if id(one) in of_layers or id(one) not in nested]


def _with_metrics(layer: Any, seen: set[int]) -> Iterator[Any]:
    """Yield all layers inside `layer` that have metrics, or layers with some."""
    seen.add(id(layer))
    if not keras.layers.Layer.metrics.fget(layer):
        return
    for inner in _held(layer, keras.layers.Layer):
        if id(inner) not in seen:
            yield inner
            yield from _with_metrics(inner, seen)


def _held(layer: Any, kind: type) -> list[Any]:
    """Return what is a `kind` among the attributes, and in lists and dicts of them."""

    def within(thing: Any) -> Iterator[Any]:
        if isinstance(thing, kind):
            yield thing
        elif isinstance(thing, (list, tuple, set)):
            for item in thing:
                yield from within(item)
        elif isinstance(thing, Mapping):
            yield from within(list(thing.values()))

    return list(within(vars(layer)))

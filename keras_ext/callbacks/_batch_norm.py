"""The statistics of batch normalization, recomputed for the current weights."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
from keras import ops


def reestimate(model: keras.Model, batches: Iterable[Any]) -> None:
    """Set the moving statistics to the means over some batches.

    Nothing else changes: neither weights nor the state of random generators.

    Args:
        model: The model, which contains `keras.layers.BatchNormalization`.
        batches: Each `x`, `(x, y)` or `(x, y, sample_weight)`.

    Raises:
        ValueError: If there is no batch.
    """
    layers = batch_norm_layers(model)
    statistics = [one for layer in layers for one in _statistics(layer)]
    kept = [(one, ops.copy(one)) for one in model.non_trainable_variables]
    momenta = [layer.momentum for layer in layers]
    sums: list[Any] = [0.0] * len(statistics)
    samples = 0
    try:
        for layer in layers:
            # With momentum 0, the moving statistics are those of one batch.
            layer.momentum = 0.0
        for batch in batches:
            x, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
            model(x, training=True)
            size = int(keras.tree.flatten(x)[0].shape[0])
            sums = [
                total + size * ops.cast(one, "float32")
                for total, one in zip(sums, map(ops.copy, statistics), strict=True)
            ]
            samples += size
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for variable, value in kept:
            variable.assign(value)
    if not samples:
        raise ValueError(
            "`batch_norm_data` yielded no batch: expected at least one. Pass something "
            "that can be iterated over repeatedly, such as a tf.data.Dataset or a list."
        )
    for variable, total in zip(statistics, sums, strict=True):
        variable.assign(ops.cast(total / samples, variable.dtype))


def batch_norm_layers(model: keras.Model) -> list[Any]:
    """Return the batch normalization layers, at any depth.

    Frozen ones are left out: they keep their statistics.
    """
    return [
        layer
        for layer in _all_layers(model, set())
        if isinstance(layer, keras.layers.BatchNormalization)
        and layer.trainable
        and layer.built
    ]


def statistics_of(model: keras.Model) -> list[Any]:
    """Return the variables that `reestimate` sets."""
    return [one for layer in batch_norm_layers(model) for one in _statistics(layer)]


def _statistics(layer: Any) -> tuple[Any, Any]:
    return layer.moving_mean, layer.moving_variance


def _all_layers(layer: Any, seen: set[int]) -> Iterator[Any]:
    """Yield a layer and everything that it holds, each once."""
    if id(layer) not in seen:
        seen.add(id(layer))
        yield layer
        for one in _layers_in(list(vars(layer).values())):
            yield from _all_layers(one, seen)


def _layers_in(thing: Any) -> Iterator[Any]:
    """Yield the layers in an attribute."""
    if isinstance(thing, keras.layers.Layer):
        yield thing
    elif isinstance(thing, Mapping):
        yield from _layers_in(list(thing.values()))
    elif isinstance(thing, (list, tuple, set)):
        for item in thing:
            yield from _layers_in(item)

"""Layers of TensorFlow Addons as layers of Keras 3."""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_ext._types import Config, Tensor
from keras_ext.addons._config import Adapted, check_kind
from keras_ext.addons._variables import outside, sharing


@keras.saving.register_keras_serializable(package="keras_ext")
class AddonsLayer(Adapted, keras.Layer):
    """A layer of Keras 3 around one of Keras 2; `addons.layer` makes it.

    Args:
        legacy: Layer of TensorFlow Addons or tf_keras.
    """

    def __init__(self, legacy: Any) -> None:
        import tf_keras

        check_kind(legacy, "layer", tf_keras.layers.Layer)
        super().__init__(
            name=legacy.name,
            trainable=legacy.trainable,
            dtype=legacy.dtype_policy.name,
        )
        self.legacy = legacy
        self.supports_masking = bool(legacy.supports_masking)
        self._accepted = tuple(inspect.signature(legacy.call).parameters)
        self._shared: set[int] = set()

    def get_config(self) -> Config:
        """Return the configuration of the adapted layer, frozen if this one is."""
        self.legacy.trainable = self.trainable
        return super().get_config()

    def build(self, input_shape: Any) -> None:
        """Build the adapted layer, and share its weights."""
        outside(lambda: self._build(input_shape), self.path)

    def call(
        self,
        inputs: Tensor,
        *others: Tensor,
        training: bool | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Return what the adapted layer computes."""
        options: dict[str, Any] = {}
        if "training" in self._accepted:
            options["training"] = bool(training)
        if "mask" in self._accepted and _any(mask):
            options["mask"] = mask
        outputs = self.legacy(inputs, *others, **options)
        for one in self.legacy.losses:
            self.add_loss(one)
        if any(id(one) not in self._shared for one in self.legacy.weights):
            raise ValueError(
                f"{type(self.legacy).__name__} creates weights when it is called, "
                "which Keras 3 could neither train nor save. Call the layer of "
                "TensorFlow Addons once, on a batch of data, before "
                "`addons.layer(layer)`."
            )
        return outputs

    def compute_mask(self, inputs: Tensor, previous_mask: Any = None) -> Any:
        """Return the mask that the adapted layer passes on."""
        if not self.supports_masking:
            return None
        return self.legacy.compute_mask(inputs, previous_mask)

    def _example(self, shape: Any) -> tf.TensorSpec:
        return tf.TensorSpec(shape, self.compute_dtype)

    def _build(self, input_shape: Any) -> None:
        shapes = _map_shapes(tf.TensorShape, input_shape)
        if not self.legacy.built:
            self.legacy.build(shapes)
            self.legacy.built = True
        if not all(getattr(one, "built", True) for one in self.legacy.submodules):
            # Layers in it may be built when they are called. A trace computes nothing.
            tf.function(self.legacy).get_concrete_function(
                _map_shapes(self._example, input_shape)
            )
        trainable = {id(one) for one in self.legacy.trainable_weights}
        for one in self.legacy.weights:
            self._shared.add(id(one))
            with sharing(one, self.name) as described:
                self.add_weight(
                    **described,
                    trainable=id(one) in trainable,
                    # The adapted layer casts it by its own policy.
                    autocast=False,
                )


def _any(mask: Any) -> bool:
    return any(one is not None for one in keras.tree.flatten(mask))


def layer(legacy: Any) -> AddonsLayer:
    """Make a Keras 3 layer of one of TensorFlow Addons.

    Its weights are those of the layer that is adapted, in the same order, so
    `set_weights` takes what `get_weights` of an old model returned. It computes in the
    precision that it was created with: `dtype="mixed_float16"` as an argument, or
    `tf_keras.mixed_precision.set_global_policy`. Random numbers are drawn by
    TensorFlow's stateful operations, whose state no checkpoint can hold.

    Args:
        legacy: Layer of TensorFlow Addons or tf_keras.

    Returns:
        A `keras.Layer`. It is called with what the adapted layer is called with.

    Raises:
        TypeError: If it is not such a layer.
        ValueError: When it is called, if the layer creates weights only then.

    Example:

    >>> import keras
    >>> from keras_ext import addons
    >>> layer = addons.layer(addons.tfa.layers.FilterResponseNormalization())
    >>> images = keras.Input((32, 32, 3))
    >>> layer(images).shape
    (None, 32, 32, 3)
    >>> [weight.name for weight in layer.weights]
    ['gamma', 'beta']
    """
    return AddonsLayer(legacy)


def _map_shapes(make: Callable[[Any], Any], shapes: Any) -> Any:
    """Make something of each shape, structured as the inputs are."""
    if isinstance(shapes, dict):
        return {name: _map_shapes(make, one) for name, one in shapes.items()}
    if all(one is None or isinstance(one, int) for one in shapes):
        return make(shapes)
    return type(shapes)(_map_shapes(make, one) for one in shapes)

"""Layers: reusable blocks, attention over channels, regularisation."""

from keras_ext.layers.squeeze_excite import SqueezeExcite

__all__ = ["SqueezeExcite"]

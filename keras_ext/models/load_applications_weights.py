"""Weights of `keras.applications` for the models of `keras_ext.models`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np


@dataclass(frozen=True)
class _Names:
    """The names that `keras.applications` gives the layers of one of its networks.

    Args:
        block: Regular expression that matches the number or letter of our block.
        prefix: Prefix of a block's layers there; the match is inserted.
        first: Prefix of the first block's layers, if different.
        parts: Our part of a block -> the end of the layer's name there.
        others: Our layer outside blocks -> the layer's name there.
    """

    block: str
    prefix: str
    parts: Mapping[str, str]
    others: Mapping[str, str]
    first: str = ""

    def of(self, path: str) -> str:
        """Return the name there of our layer at `path`."""
        block, _, part = path.partition("/")
        match = re.fullmatch(self.block, block)
        if match is None:
            return self.others.get(path, path)
        prefix = self.prefix.format(match[1])
        if match[1] == "0" and self.first:
            prefix = self.first
        return prefix + self.parts.get(part, part)


def _mobilenet(suffix: str) -> dict[str, str]:
    return {
        "expand/conv": "expand",
        "expand/norm": f"expand_{suffix}",
        "depthwise_norm": f"depthwise_{suffix}",
        "squeeze_excite/reduce": "squeeze_excite_conv",
        "squeeze_excite/expand": "squeeze_excite_conv_1",
        "project/conv": "project",
        "project/norm": f"project_{suffix}",
    }


def _efficientnet(depthwise: str) -> _Names:
    return _Names(
        r"block(\d[a-h])",
        "block{}_",
        {
            "expand/conv": "expand_conv",
            "expand/norm": "expand_bn",
            "depthwise": depthwise,
            "depthwise_norm": "bn",
            "squeeze_excite/reduce": "se_reduce",
            "squeeze_excite/expand": "se_expand",
            "project/conv": "project_conv",
            "project/norm": "project_bn",
        },
        {
            "stem/conv": "stem_conv",
            "stem/norm": "stem_bn",
            "head/conv": "top_conv",
            "head/norm": "top_bn",
        },
    )


_NETWORKS = {
    "MobileNetV2": _Names(
        r"block_(\d+)",
        "block_{}_",
        _mobilenet("BN"),
        {
            "stem/conv": "Conv1",
            "stem/norm": "bn_Conv1",
            "head/conv": "Conv_1",
            "head/norm": "Conv_1_bn",
        },
        first="expanded_conv_",
    ),
    "MobileNetV3": _Names(
        r"block_(\d+)",
        "expanded_conv_{}_",
        _mobilenet("bn"),
        {
            "stem/conv": "conv",
            "stem/norm": "conv_bn",
            "head/conv": "conv_1",
            "head/norm": "conv_1_bn",
            "features/conv": "conv_2",
            "logits/conv": "logits",
        },
        first="expanded_conv_",
    ),
    "EfficientNet": _efficientnet("dwconv"),
    "EfficientNetV2": _efficientnet("dwconv2"),
}


def load_applications_weights(model: keras.Model, source: keras.Model) -> None:
    """Transfer the weights of a `keras.applications` model to its counterpart.

    Afterward, both return the same numbers for the same images, so that a network that
    `keras.applications` has trained on ImageNet can be used, taken apart and trained
    further. (Not for images of every size: EfficientNetB0 and the MobileNets of
    `keras.applications` without a fixed `input_shape` pad differently if a side is not
    a multiple of 32.) All weights are looked up and compared before the first is
    assigned.

    Layers are matched by name, ours in the order block, part, layer:
    `block_3/expand/conv` is `block_3_expand` of MobileNetV2 and
    `expanded_conv_3_expand` of MobileNetV3, `block2a/squeeze_excite/reduce` is
    `block2a_se_reduce` of EfficientNet. InceptionV3's convolutions have no descriptive
    names there and are taken in the order of their numbers. 1x1 convolutions there that
    are dense layers here are reshaped. The second rescaling of EfficientNetB0 with
    ImageNet's weights is merged into the variance of our normalization.

    Args:
        model: Model returned by `EfficientNetB0`, `EfficientNetV2B0`, `InceptionV3`,
            `MobileNetV2`, `MobileNetV3Large` or `MobileNetV3Small`.
        source: The model of the same name from `keras.applications`, created with the
            same `alpha`, `classes` and `include_top`, and for MobileNetV3 not
            `minimalistic`. If only one of the two has `include_preprocessing`, the
            weights are transferred nevertheless; images for the other must then be
            preprocessed outside it.

    Raises:
        ValueError: If a weight of one model is missing in the other, or has a different
            shape; the message lists them. In that case, nothing has been assigned.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ext import models
    >>> shape = (32, 32, 3)
    >>> source = keras.applications.MobileNetV2(shape, alpha=0.35, weights=None)
    >>> model = models.MobileNetV2(shape, alpha=0.35)
    >>> models.load_applications_weights(model, source)
    >>> x = np.zeros((1, *shape), "float32")
    >>> bool(np.allclose(model(x), source(x), rtol=1e-5))
    True
    """
    ours = _layers(model)
    theirs = {layer.name: layer for layer in source.layers if layer.weights}
    names = _source_names(ours, source)
    if "normalization" not in names:
        # The model has no preprocessing, or one without weights.
        theirs = {k: v for k, v in theirs.items() if not _is_normalization(v)}
    elif names["normalization"] not in theirs:
        del names["normalization"], ours["normalization"]
    missing = sorted(name for name in names.values() if name not in theirs)
    left = sorted(set(theirs) - set(names.values()))
    if missing or left:
        raise ValueError(
            f"{source.name!r} is not the keras.applications counterpart of "
            f"{model.name!r}. Expected the same network, created with the same "
            f"arguments, and nothing else. Missing in {source.name!r}: "
            f"{_some(missing)}. Missing in {model.name!r}: {_some(left)}"
        )
    pairs = [
        pair
        for path, variables in ours.items()
        for pair in _matched(path, variables, theirs[names[path]])
    ]
    for variable, value in pairs:
        variable.assign(value)
    _finish_normalization(model, source)


def _layers(model: keras.Model) -> dict[str, list[Any]]:
    """Return the weights of every layer that has its own, by its path."""
    layers: dict[str, list[Any]] = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            raise ValueError(
                "`model` must be a model as returned by the builders of "
                f"keras_ext.models. Received: {model.name!r}, which contains the model "
                f"{layer.name!r}. Pass the inner one: "
                f"`model.get_layer({layer.name!r})`."
            )
        for variable in layer.weights:
            path = variable.path[variable.path.rindex(f"{layer.name}/") :]
            layers.setdefault(path.rpartition("/")[0], []).append(variable)
    return layers


def _source_names(ours: Mapping[str, Any], source: keras.Model) -> dict[str, str]:
    """Return the name in `source` of each of our layers."""
    normalizations = [one.name for one in source.layers if _is_normalization(one)]
    if any(path.startswith("mixed") for path in ours):
        names = _by_number(ours, source)
    else:
        candidates = [{p: n.of(p) for p in ours} for n in _NETWORKS.values()]
        there = {layer.name for layer in source.layers}
        names = max(candidates, key=lambda found: len(there & set(found.values())))
    if "normalization" in names and normalizations:
        names["normalization"] = normalizations[0]
    return names


def _by_number(ours: Mapping[str, Any], source: keras.Model) -> dict[str, str]:
    """Return InceptionV3's names: the n-th convolution is the n-th by number."""
    names = {path: path for path in ours}
    kinds = {"conv": keras.layers.Conv2D, "norm": keras.layers.BatchNormalization}
    for part, kind in kinds.items():
        paths = [path for path in ours if path.rpartition("/")[2] == part]
        numbered = sorted(
            (layer.name for layer in source.layers if isinstance(layer, kind)),
            key=lambda name: int((re.findall(r"_(\d+)$", name) or [0])[0]),
        )
        names.update(zip(paths, numbered, strict=False))
    return names


def _matched(path: str, variables: list[Any], layer: Any) -> list[tuple[Any, Any]]:
    """Return our variables of one layer with their new values."""
    values = layer.get_weights()
    wanted = [[size for size in v.shape if size != 1] for v in variables]
    given = [[size for size in value.shape if size != 1] for value in values]
    if wanted != given:
        raise ValueError(
            f"The weights of {path!r} must have the same shapes as those of "
            f"{layer.name!r}. Expected: {[tuple(v.shape) for v in variables]}. "
            f"Received: {[value.shape for value in values]}. Create both models with "
            "the same arguments."
        )
    pairs = zip(variables, values, strict=True)
    return [(variable, np.reshape(value, variable.shape)) for variable, value in pairs]


def _finish_normalization(model: keras.Model, source: keras.Model) -> None:
    """Make the normalization use its weights, and the source's second rescaling."""
    for layer in model.layers:
        if _is_normalization(layer) and layer.weights:
            rescalings = [
                other.scale
                for other in source.layers
                if isinstance(other, keras.layers.Rescaling)
            ]
            mean, variance, count = layer.get_weights()
            for scale in rescalings[1:]:
                variance = variance / np.square(scale)
            layer.set_weights([mean, variance.astype("float32"), count])
            layer.finalize_state()


def _is_normalization(layer: Any) -> bool:
    return isinstance(layer, keras.layers.Normalization)


def _some(names: list[str]) -> str:
    """Return a few names, and the number of the others."""
    if not names:
        return "nothing"
    more = len(names) - 5
    return ", ".join(names[:5]) + (f" and {more} more" if more > 0 else "")

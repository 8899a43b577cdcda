"""Objects of Keras 2, which Keras 3 does not recognize as what they are."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras

_PACKAGES = {"tf_keras": "tf_keras", "tensorflow_addons": "TensorFlow Addons"}
_ROOMS = {
    "optimizer": "optimizers",
    "loss": "losses",
    "metrics": "metrics",
    "weighted_metrics": "metrics",
}
_WHY = {
    "optimizer": "cannot update the variables of Keras 3",
    "loss": "Keras 3 would call as a plain function, and reduce otherwise",
    "metrics": "Keras 3 would call as a plain function, and average over batches",
    "layers": "Keras 3 does not track: its weights would be neither trained nor saved",
}
_ADAPTERS = "keras_ext.addons."
# What replaces names of TensorFlow Addons that have another name now.
RENAMED = {
    "ContrastiveLoss": "keras_ext.losses.Contrastive",
    "GIoULoss": "keras_ext.losses.IoU",
    "InstanceNormalization": "keras.layers.GroupNormalization",
    "KendallsTauB": "keras_ext.metrics.KendallTau",
    "KendallsTauC": "keras_ext.metrics.KendallTau",
    "LAMB": "keras.optimizers.Lamb",
    "LiftedStructLoss": "keras_ext.losses.LiftedStruct",
    "MaxUnpooling2DV2": "keras_ext.layers.MaxUnpooling2D",
    "NpairsLoss": "keras_ext.losses.NPairs",
    "NpairsMultilabelLoss": "keras_ext.losses.NPairsMultilabel",
    "PearsonsCorrelation": "keras.metrics.PearsonCorrelation",
    "PinballLoss": "keras_ext.losses.Pinball",
    "RSquare": "keras.metrics.R2Score",
    "SWA": "keras_ext.callbacks.WeightAveraging",
    "SigmoidFocalCrossEntropy": "keras.losses.BinaryFocalCrossentropy",
    "SparsemaxLoss": "keras_ext.losses.Sparsemax",
    "SpatialPyramidPooling2D": "keras_ext.layers.SpatialPyramidPooling",
    "SpearmansRank": "keras_ext.metrics.SpearmanCorrelation",
    "TripletHardLoss": "keras_ext.losses.TripletHard",
    "TripletSemiHardLoss": "keras_ext.losses.TripletSemiHard",
    "WeightedKappaLoss": "keras_ext.losses.WeightedKappa",
}
_PAGE = (
    'The page "Where did it go" of the documentation of keras_ext has what replaces '
    "each name of TensorFlow Addons."
)


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Raise `ValueError` for an optimizer, a loss or a metric of Keras 2.

    Args:
        arguments: Those of `keras.Model.compile`, by name.
    """
    for argument, room in _ROOMS.items():
        for one in keras.tree.flatten(arguments.get(argument)):
            package = _package_of(one)
            if package is not None:
                why = _WHY[argument.removeprefix("weighted_")]
                raise ValueError(
                    f"`{argument}` must be of Keras 3. Received: {_name(one)} of "
                    f"{package}, which {why}. {_instead(one, room)}"
                )


def check_layers(model: keras.Model) -> None:
    """Raise `ValueError` if a layer of Keras 2 is an attribute of one of Keras 3."""
    owners: list[keras.Layer] = [model]
    # By their ids, since a user's layer may define what is equal to it.
    seen = {id(model)}
    while owners:
        owner = owners.pop()
        if type(owner).__module__.startswith(_ADAPTERS):
            continue  # They share the weights of the one that they keep.
        for name, one in _attributes(owner):
            if isinstance(one, keras.Layer):
                if id(one) not in seen:
                    seen.add(id(one))
                    owners.append(one)
                continue
            package = _package_of(one)
            if package is not None and hasattr(one, "trainable_weights"):
                raise ValueError(
                    f"The layers of a model must be of Keras 3. Received: {_name(one)} "
                    f"of {package}, the attribute {name!r} of {type(owner).__name__}, "
                    f"which {_WHY['layers']}. {_instead(one, 'layers')}"
                )


def _attributes(owner: keras.Layer) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of a layer, and what is in those that are lists or dicts."""
    for name, value in vars(owner).items():
        if name.startswith("_self_"):
            continue  # TensorFlow's notes of what it tracks
        values = value.values() if isinstance(value, dict) else value
        several = isinstance(value, (dict, list, tuple))
        for one in list(values) if several else [value]:
            yield name, one


def _package_of(thing: Any) -> str | None:
    """Return the package with Keras 2 that an object or a function comes from."""
    kinds = [thing] if hasattr(thing, "__qualname__") else type(thing).__mro__
    modules = (str(getattr(kind, "__module__", "")) for kind in kinds)
    roots = (module.partition(".")[0] for module in modules)
    return next((_PACKAGES[root] for root in roots if root in _PACKAGES), None)


def _name(thing: Any) -> str:
    return str(getattr(thing, "__name__", type(thing).__name__))


def _instead(thing: Any, room: str) -> str:
    """Return what to use: what replaces it, and what adapts it until then."""
    use = f"Use {native}." if (native := _native(_name(thing), room)) else _PAGE
    adapter = f"keras_ext.addons.{room.removesuffix('es' if room == 'losses' else 's')}"
    # The adapter's own check: newer optimizers of tf_keras have other methods.
    if room == "optimizers" and not hasattr(thing, "get_slot"):
        return use
    return f"{use} Until then, {adapter} makes an object of Keras 3 of it."


def _native(name: str, room: str) -> str | None:
    """Return what has the same name, or replaced it."""
    # Here, since they are many, and seldom needed.
    from keras_ext import layers, losses, metrics, optimizers

    ours = {
        "layers": layers,
        "losses": losses,
        "metrics": metrics,
        "optimizers": optimizers,
    }
    for package, place in (("keras", getattr(keras, room)), ("keras_ext", ours[room])):
        if hasattr(place, name):
            return f"{package}.{room}.{name}"
    return RENAMED.get(name)

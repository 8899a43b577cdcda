"""The compiled operations of TensorFlow Addons, which no newer TensorFlow can load."""

import types
from typing import Any

import tensorflow as tf

# What needs a library, and what to use. The page "Where did it go" has examples.
_INSTEAD = {
    "_beam_search_ops.so": ("gather_tree", "keras_hub.samplers.BeamSampler"),
    "_correlation_cost_ops.so": (
        "CorrelationCost",
        "keras_ext.layers.CorrelationCost",
    ),
    "_distort_image_ops.so": (
        "adjust_hsv_in_yiq",
        "keras.layers.RandomHue and keras.layers.RandomSaturation",
    ),
    "_embedding_bag_ops.so": (
        "EmbeddingBag",
        "keras_rs.layers.EmbedReduce, or keras.ops.sum of a keras.layers.Embedding",
    ),
    "_image_ops.so": (
        "connected_components or euclidean_dist_transform",
        "scipy.ndimage.label, or scipy.ndimage.distance_transform_edt",
    ),
    "_parse_time_op.so": ("parse_time", "Python's datetime, before the model"),
    "_resampler_ops.so": ("resampler", "keras.ops.image.map_coordinates"),
    "_skip_gram_ops.so": ("skip_gram_sample", "NumPy, to draw the pairs"),
}


def refuse_custom_ops(resource_loader: types.ModuleType) -> None:
    """Let what needs a compiled operation say so, and what replaces it.

    TensorFlow Addons would try to load a library that was compiled for TensorFlow 2.15,
    which ends in a message about symbols of C++, or in a crash.

    Args:
        resource_loader: The module of TensorFlow Addons that loads the libraries.
    """
    resource_loader.LazySO.ops = property(_refuse)


def _refuse(library: Any) -> Any:
    name = str(library.relative_path).rpartition("/")[2]
    what, instead = _INSTEAD.get(name, (name, "what the page lists"))
    raise NotImplementedError(
        f"{what} of TensorFlow Addons needs an operation that was compiled for "
        f"TensorFlow 2.15. Received: TensorFlow {tf.__version__}, which cannot load "
        f"it. Use {instead}. The page "
        '"Where did it go" of the documentation of keras_ext says what differs.'
    )

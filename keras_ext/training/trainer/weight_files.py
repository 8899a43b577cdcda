"""Which object's weights a file holds."""

import os
import zipfile
from typing import Any

import h5py


def is_trainers_file(filepath: Any) -> bool:
    """Return whether a file holds a Trainer, rather than the model that it wraps.

    Keras saves an object attribute by attribute: a Trainer with its layers, which are
    those of the model, in the same place as the bare model, and the rest of the model
    as a separate attribute.

    Args:
        filepath: Argument of `load_weights`. Anything other than a local `.keras` or
            `.h5` file is not opened, and regarded as the model's.
    """
    path = str(filepath)
    if not os.path.isfile(path):
        return False
    if path.endswith(".keras") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if "model.weights.h5" not in archive.namelist():
                return False
            with archive.open("model.weights.h5") as weights:
                return _has_wrapped(weights)
    return path.endswith(".weights.h5") and h5py.is_hdf5(path) and _has_wrapped(path)


def _has_wrapped(path_or_file: Any) -> bool:
    with h5py.File(path_or_file, "r") as file:
        return "_wrapped" in file

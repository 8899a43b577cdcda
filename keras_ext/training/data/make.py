"""The source for any kind of data: arrays, `tf.data`, `PyDataset`, iterables.

The order of arrays and of a `PyDataset` is a pure function of `(seed, epoch)`: an epoch
can be repeated without repeating earlier ones.
"""

from typing import Any, Literal

import keras
import tensorflow as tf

from keras_ext import _checks
from keras_ext.training.data.arrays import ArraySource, Shuffle, are_arrays
from keras_ext.training.data.batch_checks import shortened
from keras_ext.training.data.datasets import DatasetSource
from keras_ext.training.data.iterables import IterableSource, WholeBatches
from keras_ext.training.data.pydataset import PyDatasetSource
from keras_ext.training.data.source import Source
from keras_ext.training.data.stepped import SteppedSource


def make_source(
    data: Any,
    batch_size: int | None = None,
    *,
    shuffle: Shuffle = True,
    seed: int = 0,
    steps: int | None = None,
    resident: bool | Literal["auto"] = "auto",
    where: str = "",
) -> Source:
    """Return the source for `data`: arrays, `PyDataset`, dataset or any iterable.

    Args:
        data: A nested structure of arrays; or a `tf.data.Dataset`, a
            `keras.utils.PyDataset`, a generator, a list or another iterable of
            batches. A list is an iterable of batches.
        batch_size: Samples per batch, for arrays only. Default: 32.
        shuffle: Whether arrays, and the batches of a `PyDataset`, come in a different
            order in every epoch; `"batch"` shuffles within each batch.
        seed: Seed of the orders.
        steps: Batches per epoch; required if the data is infinite.
        resident: Whether arrays are copied to the device as a whole; see
            `ArraySource`.
        where: Text that errors about the data add to it.

    Raises:
        ValueError: If `batch_size` is given for data that is already batched, the data
            is infinite and `steps` is missing, or an argument is out of range.
        TypeError: If `data` is not one of these.
    """
    if not isinstance(data, list) and are_arrays(data):
        return ArraySource(
            data,
            batch_size,
            shuffle=shuffle,
            seed=seed,
            steps=steps,
            resident=resident,
            where=where,
        )
    _checks.one_of("resident", resident, ("auto",))
    if batch_size is not None:
        raise ValueError(
            "`batch_size` is for arrays; other data is already batched. Received: "
            f"batch_size={batch_size!r} with data of type {type(data).__name__}. Leave "
            "it out, or batch the data itself."
        )
    if isinstance(data, (tuple, dict)):
        kinds = sorted({type(leaf).__name__ for leaf in keras.tree.flatten(data)})
        raise TypeError(
            f"A {type(data).__name__} of data must contain arrays, and nothing else. "
            f"Received: {', '.join(kinds)}. Convert Python numbers with `np.asarray`."
        )
    if isinstance(data, keras.utils.PyDataset):
        source: Source = PyDatasetSource(data, shuffle=shuffle, seed=seed)
    elif isinstance(data, tf.data.Dataset):
        source = DatasetSource(data)
    elif isinstance(data, tf.distribute.DistributedDataset):
        source = IterableSource(WholeBatches(data))
    elif hasattr(data, "__iter__") and not isinstance(data, (str, bytes)):
        source = IterableSource(data)
    else:
        raise TypeError(
            f"The data{where} must be arrays (or a tuple or dict of arrays), a "
            "tf.data.Dataset, a keras.utils.PyDataset, or an iterable of batches. "
            f"Received: {shortened(data)} of type {type(data).__name__}"
        )
    if steps is not None:
        return SteppedSource(source, steps)
    if _is_endless(data):
        raise ValueError(
            "The dataset has no end. Expected: a number of batches per epoch, as "
            "`steps_per_epoch=` of `fit` or `steps=` of `epoch.batches`."
        )
    return source


def check_batch_size(batch_size: Any) -> None:
    """Raise `TypeError` for a part of the data in place of the batch size."""
    if shape := getattr(batch_size, "shape", ()):
        raise TypeError(
            "`batch_size` must be a positive integer. Received: an array of shape "
            f"{tuple(shape)}. Pass all parts of the data in a tuple: "
            "`epoch.batches((x, y))`."
        )


def _is_endless(data: Any) -> bool:
    if isinstance(data, keras.utils.PyDataset):
        return data.num_batches is None
    if isinstance(data, tf.data.Dataset):
        return int(data.cardinality()) == tf.data.INFINITE_CARDINALITY
    return False

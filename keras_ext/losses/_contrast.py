"""What the contrastive losses with and without labels share."""

from keras import ops

from keras_ext._norms import unit
from keras_ext._types import Tensor
from keras_ext.losses import _row_sums
from keras_ext.losses._batchwise import Samples


def of_views(x: Tensor, samples: Samples, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the crossentropy of finding each view's positives among all others.

    Args:
        x: Embeddings, `(batch, views, dim)`.
        samples: Which of them belong together.
        temperature: What similarities are divided by.

    Returns:
        The mean over the views of each sample, and which samples count: those that are
        there and have a positive.
    """
    views = ops.shape(x)[1]
    x = unit(samples.without_absent(x), -1)
    x = ops.reshape(x, (-1, x.shape[2]))
    similarity = ops.matmul(x, ops.transpose(x)) / temperature
    _, positive, negative = samples.pairs(views)
    values = _row_sums.crossentropy(similarity, positive | negative, positive)
    valid = ops.any(positive, axis=1)
    of_sample = (-1, views)
    return samples.settled(
        ops.mean(ops.reshape(values, of_sample), axis=1),
        ops.any(ops.reshape(valid, of_sample), axis=1),
    )

"""DropBlock: dropout of whole patches of a feature map."""

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._images import (
    check_images,
    filled,
    part,
    resolve_data_format,
    sides,
    spatial_axes,
)
from keras_ext._types import Config, DataFormat, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_ext")
class DropBlock2D(keras.layers.Layer):
    """Sets random blocks of an image to 0 during training.

    Neighboring pixels of a feature map carry similar information, so that dropping
    single pixels withholds little. DropBlock drops whole blocks, independently in every
    sample and every channel. Place it after the convolutions of the last stages, and
    after their shortcuts:

    `output = input * kept * count(kept) / sum(kept)`

    A pixel is dropped if a block covers it. Every position at which a whole block fits
    into the image is the upper left corner of one with probability

    `gamma = rate / (b * b) * H * W / ((H - b + 1) * (W - b + 1))`

    so that about `rate` of all pixels are dropped, less where blocks overlap. The kept
    values are scaled per sample, over its pixels and channels; a sample of which
    nothing is kept is 0. At inference the input is returned unchanged.

    Reference: G. Ghiasi, T.-Y. Lin, Q. V. Le, "DropBlock: A regularization method for
    convolutional networks", 2018, https://arxiv.org/abs/1810.12890.

    Args:
        rate: Float in [0, 1). Fraction of the pixels to drop; 1 minus the paper's
            `keep_prob`.
        block_size: Positive integer, or a pair for height and width. Size of the
            blocks; in a smaller image they are as large as the image. Default: 7.
        seed: Integer. Seed of the layer's random numbers. Default: `None`, which draws
            one (reproducible with `keras.utils.set_random_seed`).
        data_format: `"channels_last"` or `"channels_first"`. Default: `None`, which
            means `keras.config.image_data_format()`.
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor, a batch of images of any size.
        training: Boolean. Whether to drop. Default: `False`; inside a layer or model,
            it follows the caller.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)`
        with `data_format="channels_first"`.

    Output shape:
        Same as the input.

    Raises:
        ValueError: If an argument is out of range; on build, if the input is not of
            rank 4.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import DropBlock2D
    >>> layer = DropBlock2D(0.1, block_size=3, seed=1)
    >>> image = np.ones((1, 32, 32, 16), "float32")
    >>> dropped = np.array(layer(image, training=True)) == 0
    >>> bool(0.05 < dropped.mean() < 0.15)
    True
    >>> float(np.min(layer(image, training=False)))
    1.0

    Masks are not used. Under a mixed-precision policy the draw is made, and the kept
    pixels are counted, in float32. A dropped value is 0 even where the input is not
    finite, and its gradient is 0.
    """

    def __init__(
        self,
        rate: float,
        block_size: int | tuple[int, int] = 7,
        *,
        seed: int | None = None,
        data_format: DataFormat | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.rate = _checks.number("rate", rate, low=0, high=1, open_high=True)
        self.block_size = _checks.int_or_pair("block_size", block_size)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.data_format = resolve_data_format(data_format)

    def build(self, input_shape: Shape) -> None:
        """Check the rank of the input."""
        check_images(self.name, input_shape, self.data_format)
        self.input_spec = keras.InputSpec(ndim=4)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Return `inputs` with random blocks set to 0 and the rest scaled up."""
        if not training or self.rate == 0:
            return inputs
        kept = ops.logical_not(self._dropped([*ops.shape(inputs)]))
        share = ops.mean(ops.cast(kept, "float32"), axis=(1, 2, 3), keepdims=True)
        scale = ops.cast(ops.divide_no_nan(1.0, share), inputs.dtype)
        return ops.where(kept, inputs * scale, 0)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "rate": self.rate,
            "block_size": self.block_size,
            "seed": self.seed,
            "data_format": self.data_format,
        }

    def _dropped(self, shape: list[Tensor]) -> Tensor:
        """Return which values of images of this shape lie in a block."""
        axes = spatial_axes(self.data_format)
        sizes = [shape[axis] for axis in axes]
        # A size known only at run time limits the number of corners, not the blocks:
        # what extends beyond the image is cut off.
        blocks = [
            min(block, size) if isinstance(size, int) else block
            for block, size in zip(sides(self.block_size), sizes, strict=True)
        ]
        gamma = self.rate
        for axis, size, block in zip(axes, sizes, blocks, strict=True):
            covered = block if isinstance(size, int) else ops.minimum(block, size)
            shape[axis] = size - covered + 1
            places = ops.cast(covered * shape[axis], "float32")
            gamma = gamma * ops.cast(size, "float32") / places
        draw = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
        dropped = draw < gamma
        for axis, size, block in zip(axes, sizes, blocks, strict=True):
            dropped = part(_extended(dropped, axis, block), axis, None, size)
        return dropped


def _extended(corners: Tensor, axis: int, block: int) -> Tensor:
    """Return which places lie in the blocks along `axis` that start at `corners`.

    Each round doubles how far back a place looks for a corner. It is a max pooling,
    on booleans, which takes `log2(block)` comparisons instead of `block`.
    """
    covered = filled(corners, axis, block - 1, block - 1)
    reach = 1
    while reach < block:
        step = min(reach, block - reach)
        covered = ops.logical_or(
            part(covered, axis, None, -step), part(covered, axis, step, None)
        )
        reach += step
    return covered

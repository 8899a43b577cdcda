"""Structural similarity of images, as a loss."""

from functools import partial

import keras
import numpy as np
from keras import ops

from keras_ext import _checks
from keras_ext._images import resolve_data_format
from keras_ext._types import DataFormat, Reduction, Shape, Tensor
from keras_ext.losses._function_loss import checked
from keras_ext.losses._weighted import WeightedLoss, alike

_NAME = "ssim"
_POSITIVE = partial(_checks.number, low=0, open_low=True)


@keras.saving.register_keras_serializable(package="keras_ext")
class SSIM(WeightedLoss):
    """Loss of images: 1 minus their structural similarity to the true ones.

    For restoring and generating images. A window moves over both images, `x` and `y`;
    at each position, the Gaussian-weighted means, variances and covariance are
    compared. With `c1 = (k1 max_value)^2` and `c2 = (k2 max_value)^2`:

    `luminance = (2 mean_x mean_y + c1) / (mean_x^2 + mean_y^2 + c1)`,

    `structure = (2 covariance + c2) / (variance_x + variance_y + c2)`,

    `ssim = luminance * structure`,

    `loss = 1 - mean(ssim)`, the mean over all windows that lie within the image, and
    all channels. It is 0 for identical images, and at most 2.

    Reference: Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image Quality
    Assessment: From Error Visibility to Structural Similarity", 2004,
    https://doi.org/10.1109/TIP.2003.819861.

    Args:
        max_value: Float above 0. Difference between the highest and the lowest value
            that a pixel can have: 1, or 255. Default: 1.
        filter_size: Positive integer, pixels. Height and width of the window.
            Default: 11.
        sigma: Float above 0, pixels. Standard deviation of the window's weights.
            Default: 1.5.
        k1: Float above 0. Stabilizes the comparison of dark regions. Default: 0.01.
        k2: Float above 0. Stabilizes the comparison of flat regions. Default: 0.03.
        data_format: `"channels_last"` or `"channels_first"`. Default: `None`, which
            means `keras.config.image_data_format()`.
        reduction: As in every `keras.losses.Loss`. Default: `"sum_over_batch_size"`.
        name: Name of the loss.
        dtype: Dtype of the loss. Default: `None`, which means `keras.config.floatx()`.

    Call arguments:
        y_true: True images.
        y_pred: Predicted images.
        sample_weight: Weights of the images, `(batch,)`.

    Input shape:
        `y_true` and `y_pred`: `(batch, height, width, channels)`; with
        `data_format="channels_first"`, `(batch, channels, height, width)`.

    Output shape:
        A scalar; with `reduction="none"`, `(batch,)`.

    Raises:
        ValueError: If an argument is out of range; on call, if the shapes differ or are
            not those of images, or if the images are smaller than the window.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import SSIM
    >>> image = np.random.default_rng(0).uniform(size=(1, 16, 16, 3))
    >>> loss = SSIM()
    >>> float(loss(image, image))
    0.0
    >>> float(loss(image, 0.5 * image))
    0.3586

    Moments are those of a population, as in the paper and in `tf.image.ssim`.
    Half-precision inputs are computed in float32.
    """

    def __init__(
        self,
        max_value: float = 1.0,
        filter_size: int = 11,
        sigma: float = 1.5,
        k1: float = 0.01,
        k2: float = 0.03,
        data_format: DataFormat | None = None,
        reduction: Reduction | None = "sum_over_batch_size",
        name: str | None = _NAME,
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(
            ssim,
            max_value=max_value,
            filter_size=filter_size,
            sigma=sigma,
            k1=k1,
            k2=k2,
            data_format=data_format,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )

    def _values_shape(self, y_pred_shape: Shape) -> Shape:
        return y_pred_shape[:1]


@checked(
    max_value=_POSITIVE,
    filter_size=_checks.positive_int,
    sigma=_POSITIVE,
    k1=_POSITIVE,
    k2=_POSITIVE,
    data_format=lambda _, given: resolve_data_format(given),
)
def ssim(
    y_true: Tensor,
    y_pred: Tensor,
    max_value: float = 1.0,
    filter_size: int = 11,
    sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    data_format: DataFormat | None = None,
) -> Tensor:
    """Return 1 minus the mean structural similarity of every image.

    The function form of `SSIM`, which documents the formula, reference and errors.

    Args:
        y_true: True images, `(batch, height, width, channels)`.
        y_pred: Predicted images, of the same shape.
        max_value: Float above 0, the range of the pixels.
        filter_size: Positive integer, height and width of the window.
        sigma: Float above 0, the standard deviation of the window's weights.
        k1: Float above 0, for dark regions.
        k2: Float above 0, for flat regions.
        data_format: `"channels_last"`, `"channels_first"`, or `None` for
            `keras.config.image_data_format()`.

    Returns:
        Float tensor `(batch,)`, in `y_pred`'s dtype, but at least float32.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import ssim
    >>> black, white = np.zeros((1, 16, 16, 1)), np.ones((1, 16, 16, 1))
    >>> float(ssim(black, white, data_format="channels_last")[0])
    0.9999
    """
    c1, c2 = (k1 * max_value) ** 2, (k2 * max_value) ** 2
    weights = _window(filter_size, sigma)
    x, y = _channels_last(y_true, y_pred, data_format, filter_size)

    # Variances do not depend on the brightness, but lose precision with it.
    level = ops.stop_gradient(ops.mean(x + y, axis=(1, 2), keepdims=True) / 2)
    x, y = x - level, y - level
    moments = ops.concatenate(
        [x, y, ops.square(x) + ops.square(y), ops.square(x - y)], -1
    )
    mean_x, mean_y, of_squares, of_difference = ops.split(
        _under(weights, moments), 4, axis=-1
    )
    gap = ops.square(mean_x - mean_y)
    variances = of_squares - ops.square(mean_x) - ops.square(mean_y)
    variance_of_difference = ops.maximum(of_difference - gap, 0)
    mean_squares = ops.square(mean_x + level) + ops.square(mean_y + level)

    # 1 minus each factor of the formula: small for similar images, without
    # cancellation.
    luminance = gap / (mean_squares + c1)
    structure = variance_of_difference / (ops.maximum(variances, 0) + c2)
    values = luminance + structure - luminance * structure
    return ops.mean(values, axis=(1, 2, 3))


def _channels_last(
    y_true: Tensor, y_pred: Tensor, data_format: DataFormat | None, filter_size: int
) -> tuple[Tensor, Tensor]:
    """Return the images with their channels last."""
    channels_first = data_format == "channels_first"
    names = "(batch, height, width, channels)"
    if channels_first:
        names = "(batch, channels, height, width)"
    images = alike(_NAME, y_true, y_pred, names, least_rank=4)
    shape = images[1].shape
    _checks.rank(_NAME, shape, 4, names)
    sides = shape[2:] if channels_first else shape[1:3]
    if any(side is not None and side < filter_size for side in sides):
        raise ValueError(
            f"{_NAME} expects images of at least {filter_size} x {filter_size} pixels, "
            f"one window, with data_format={data_format!r}. Received: "
            f"y_pred.shape={tuple(shape)}. Use a smaller `filter_size`."
        )
    if channels_first:
        x, y = (ops.transpose(image, (0, 2, 3, 1)) for image in images)
        return x, y
    return images


def _window(filter_size: int, sigma: float) -> list[float]:
    """Return Gaussian weights of one axis, which sum to 1."""
    offsets = (np.arange(filter_size) - (filter_size - 1) / 2) / sigma
    weights = np.exp(-0.5 * np.square(offsets))
    return (weights / weights.sum()).tolist()


def _under(weights: list[float], images: Tensor) -> Tensor:
    """Return the mean of every whole window of every channel."""
    column = ops.reshape(ops.convert_to_tensor(weights, images.dtype), (-1, 1, 1, 1))
    column = ops.tile(column, (1, 1, ops.shape(images)[-1], 1))
    for kernel in (column, ops.transpose(column, (1, 0, 2, 3))):
        images = ops.depthwise_conv(
            images, kernel, padding="valid", data_format="channels_last"
        )
    return images

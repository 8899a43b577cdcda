"""Values of images between their pixels, and beyond their borders."""

from typing import Literal, TypeAlias

from keras import ops

from keras_ext._types import Tensor

Interpolation: TypeAlias = Literal["nearest", "bilinear"]
"""How a value between pixels is made of them."""

FillMode: TypeAlias = Literal["constant", "nearest", "wrap", "reflect"]
"""What is beyond the border, as `keras.ops.image.affine_transform` names it."""

INTERPOLATIONS = ("nearest", "bilinear")
FILL_MODES = ("constant", "nearest", "wrap", "reflect")


def sample(
    images: Tensor,
    rows: Tensor,
    columns: Tensor,
    *,
    interpolation: Interpolation = "bilinear",
    fill_mode: FillMode = "constant",
    fill_value: float = 0.0,
) -> Tensor:
    """Return the values of images at points.

    It is made of gathers, which every backend and XLA compile, with gradients for the
    images and, if `interpolation` is `"bilinear"`, the points.

    Args:
        images: Float tensor shaped `(batch, height, width, channels)`.
        rows: Float tensor shaped `(batch, new_height, new_width)`, or of a shape that
            broadcasts to it: the vertical positions, 0 for the first row.
        columns: The same, for the horizontal positions.
        interpolation: `"nearest"` or `"bilinear"`.
        fill_mode: `"constant"`, `"nearest"`, `"wrap"` or `"reflect"`.
        fill_value: Float, for `"constant"`.

    Returns:
        Tensor shaped `(batch, new_height, new_width, channels)`.
    """
    pixels = _Pixels(images, fill_mode, fill_value)
    if interpolation == "nearest":
        return pixels(_rounded(rows), _rounded(columns))
    top, left = ops.floor(rows), ops.floor(columns)
    down, right = ((rows - top)[..., None], (columns - left)[..., None])
    upper = pixels(top, left) * (1 - right) + pixels(top, left + 1) * right
    lower = pixels(top + 1, left) * (1 - right) + pixels(top + 1, left + 1) * right
    return upper * (1 - down) + lower * down


class _Pixels:
    """The pixels of images, called with whole numbers as floats."""

    def __init__(self, images: Tensor, fill_mode: FillMode, fill_value: float) -> None:
        batch, self.height, self.width, channels = ops.shape(images)
        count = self.height * self.width
        self.values = ops.reshape(images, (batch * count, channels))
        self.first = ops.arange(batch, dtype="int32")[:, None, None] * count
        self.fill_mode, self.fill_value = fill_mode, fill_value

    def __call__(self, rows: Tensor, columns: Tensor) -> Tensor:
        row, has_row = _filled(rows, self.height, self.fill_mode)
        column, has_column = _filled(columns, self.width, self.fill_mode)
        place = self.first + row * self.width + column
        values = ops.take(self.values, place, axis=0)
        if self.fill_mode != "constant":
            return values
        inside = ops.logical_and(has_row, has_column)[..., None]
        return ops.where(inside, values, ops.cast(self.fill_value, values.dtype))


def _filled(index: Tensor, size: Tensor, fill_mode: FillMode) -> tuple[Tensor, Tensor]:
    """Return valid indices as integers, and whether each was valid before."""
    length = ops.cast(size, index.dtype)
    inside = ops.logical_and(index >= 0, index < length)
    # Not `ops.mod`: ONNX Runtime gives negative numbers another remainder.
    if fill_mode == "wrap":
        index = index - length * ops.floor(index / length)
    elif fill_mode == "reflect":
        index = index - 2 * length * ops.floor(index / (2 * length))
        index = ops.minimum(index, 2 * length - 1 - index)
    # A NaN can be any integer here, and TensorFlow raises for those that do not exist.
    return ops.clip(ops.cast(index, "int32"), 0, size - 1), inside


def _rounded(x: Tensor) -> Tensor:
    """Return the nearest whole numbers; of two, the one that is further from 0."""
    return ops.sign(x) * ops.floor(ops.absolute(x) + 0.5)

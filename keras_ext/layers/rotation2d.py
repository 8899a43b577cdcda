"""Rotation of images, each by an angle that is given."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._images import check_images, resolve_data_format
from keras_ext._sampling import (
    FILL_MODES,
    INTERPOLATIONS,
    FillMode,
    Interpolation,
    sample,
)
from keras_ext._types import Config, DataFormat, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_ext")
class Rotation2D(keras.layers.Layer):
    """Rotates each image by its own angle, about its center.

    `keras.layers.RandomRotation` draws the angles. This layer is given them: for labels
    that turn with the image, such as keypoints, for test-time augmentation, and for
    networks that find the angle themselves, since it has a gradient.

    `output[y, x] = input[cy + sin(a) * (x - cx) + cos(a) * (y - cy), ...]`

    `a` is the angle, `cy` and `cx` are `(height - 1) / 2` and `(width - 1) / 2`, and
    the column read is `cx + cos(a) * (x - cx) - sin(a) * (y - cy)`.

    Reference: M. Jaderberg, K. Simonyan, A. Zisserman, K. Kavukcuoglu, "Spatial
    Transformer Networks", 2015, https://arxiv.org/abs/1506.02025: equation 5, the
    bilinear sampling, and 6 and 7, its gradients.

    Args:
        interpolation: `"bilinear"`, or `"nearest"` for maps of labels. Default:
            `"bilinear"`.
        fill_mode: What is beyond the border of the image, as in
            `keras.ops.image.affine_transform`: `"constant"`, for `fill_value`;
            `"nearest"`, for the pixel of the border; `"wrap"`, for the image again; or
            `"reflect"`, for its mirror image, border included. Default: `"constant"`.
        fill_value: Float. Default: 0.
        data_format: `"channels_last"` or `"channels_first"`. Default: `None`, which
            means `keras.config.image_data_format()`.
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    Call arguments:
        inputs: List of two tensors: the images, of any dtype, and the angles in
            radians. A positive angle turns an image counterclockwise.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `data_format="channels_first"`, and `(batch,)`; or `()`, for one angle for all
        images.

    Output shape:
        The shape of the images.

    Raises:
        ValueError: If an argument is not valid; on build, if there are not two inputs
            of these shapes.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import Rotation2D
    >>> image = np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]).reshape(1, 3, 3, 1)
    >>> images = np.repeat(image, 2, axis=0)
    >>> turned = Rotation2D("nearest")([images, np.array([0.0, np.pi / 2])])
    >>> np.array(turned)[1, ..., 0].tolist()
    [[3.0, 6.0, 9.0], [2.0, 5.0, 8.0], [1.0, 4.0, 7.0]]

    The angle 0 does not change an image. Masks are not used. Integers become the dtype
    of the layer. In half precision, angles are not rounded, and positions are computed
    in float32.
    """

    def __init__(
        self,
        interpolation: Interpolation = "bilinear",
        *,
        fill_mode: FillMode = "constant",
        fill_value: float = 0.0,
        data_format: DataFormat | None = None,
        **kwargs: object,
    ) -> None:
        # Rounded to half precision, an angle could move a pixel to the next.
        super().__init__(autocast=False, **kwargs)
        self.interpolation = _checks.one_of(
            "interpolation", interpolation, INTERPOLATIONS
        )
        self.fill_mode = _checks.one_of("fill_mode", fill_mode, FILL_MODES)
        self.fill_value = _checks.number("fill_value", fill_value)
        self.data_format = resolve_data_format(data_format)

    def build(self, input_shape: Sequence[Shape]) -> None:
        """Check the two shapes."""
        self._check(input_shape)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the rotated images."""
        self._check([tuple(one.shape) for one in inputs])
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        images, angles = (ops.cast(one, dtype) for one in inputs)
        if self.data_format == "channels_first":
            images = ops.moveaxis(images, 1, -1)
        angles = ops.reshape(angles, (-1, 1, 1))
        cos, sin = ops.cos(angles), ops.sin(angles)
        height, width = ops.shape(images)[1:3]
        (y, cy), (x, cx) = _offsets(height, dtype), _offsets(width, dtype)
        outputs = sample(
            images,
            cy + sin * x + cos * y[:, None],
            cx + cos * x - sin * y[:, None],
            interpolation=self.interpolation,
            fill_mode=self.fill_mode,
            fill_value=self.fill_value,
        )
        if self.data_format == "channels_first":
            outputs = ops.moveaxis(outputs, -1, 1)
        return ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        """Return the shape of the images."""
        self._check(input_shape)
        return tuple(input_shape[0])

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "interpolation": self.interpolation,
            "fill_mode": self.fill_mode,
            "fill_value": self.fill_value,
            "data_format": self.data_format,
        }

    def _check(self, shapes: Sequence[Shape]) -> None:
        """Raise unless the shapes are those of images and their angles."""
        if len(shapes) != 2 or not all(isinstance(s, (list, tuple)) for s in shapes):
            raise ValueError(
                f"{self.name} expects a list of two tensors, images and angles. "
                f"Received: shapes {[*shapes]}"
            )
        images, angles = shapes
        check_images(self.name, images, self.data_format)
        if len(angles) and not _checks.shapes_agree(angles, images[:1]):
            raise ValueError(
                f"{self.name} expects an angle for each image, of shape "
                f"{(images[0],)}, or one for all, of shape (). Received: angles of "
                f"shape {tuple(angles)}"
            )


def _offsets(size: Tensor, dtype: str) -> tuple[Tensor, Tensor]:
    """Return positions along an axis as seen from its middle, and the middle."""
    middle = ops.cast(size - 1, dtype) / 2
    return ops.cast(ops.arange(size, dtype="int32"), dtype) - middle, middle

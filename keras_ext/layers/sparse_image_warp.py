"""Warps of images that move a few points, and what is between them smoothly."""

from collections.abc import Sequence
from typing import Literal

import keras
import numpy as np
from keras import ops

from keras_ext import _checks
from keras_ext._images import check_images, resolve_data_format, spatial_axes
from keras_ext._sampling import sample
from keras_ext._types import Config, DataFormat, Shape, Tensor
from keras_ext.layers.interpolate_spline import interpolate_spline


@keras.saving.register_keras_serializable(package="keras_ext")
class SparseImageWarp(keras.layers.Layer):
    """Warps images such that control points move to given places.

    What lies between the points moves as a thin plate bends that is held at them. For
    the alignment of faces or organs by their landmarks, and to augment: SpecAugment
    moves one point of a spectrogram along the time axis and fixes the border.

    `output[y, x] = input[y - flow[y, x, 0], x - flow[y, x, 1]]`

    `flow` is the function of `interpolate_spline` that is `destination - source` at
    `destination`. Between pixels, the input is interpolated linearly; beyond its
    border, it continues with the pixel there.

    Reference: F. L. Bookstein, "Principal Warps: Thin-Plate Splines and the
    Decomposition of Deformations", 1989, https://doi.org/10.1109/34.24792. SpecAugment:
    D. S. Park, W. Chan, Y. Zhang, C.-C. Chiu, B. Zoph, E. D. Cubuk, Q. V. Le,
    "SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition",
    2019, https://arxiv.org/abs/1904.08779.

    Args:
        interpolation_order: 1, 2 or 3: order of the spline. Default: 2, the thin-plate
            spline.
        regularization_weight: Non-negative float. The larger it is, the smoother is the
            flow, and the less exactly do points reach their places. Default: 0.
        num_boundary_points: Non-negative integer. Points that do not move, on each edge
            of the image: 1 for the four corners, 2 for the middles of the edges, too,
            and so on. Default: 0, for a border that moves freely.
        return_flow: Boolean. Whether to return the flow in addition to the images.
            Default: `False`.
        data_format: `"channels_last"` or `"channels_first"`. Default: `None`, which
            means `keras.config.image_data_format()`.
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    Call arguments:
        inputs: List of three tensors: the images, of any dtype; where the control
            points of each are, as `(y, x)` in pixels; and where they go.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `data_format="channels_first"`; `(batch, points, 2)`; and the same.

    Output shape:
        The shape of the images. With `return_flow=True`, a tuple of it and that of the
        flow, `(batch, height, width, 2)`, or `(batch, 2, height, width)`.

    Raises:
        ValueError: If an argument is out of range; on build, if there are not three
            inputs of these shapes.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import SparseImageWarp
    >>> image = np.zeros((1, 5, 5, 1), "float32")
    >>> image[0, 2, 2, 0] = 1
    >>> layer = SparseImageWarp(num_boundary_points=1)
    >>> moved = layer([image, np.array([[[2.0, 2.0]]]), np.array([[[1.0, 2.0]]])])
    >>> float(np.array(moved)[0, 1, 2, 0].round(3))
    1.0

    Of control points that coincide, the first counts, unless `regularization_weight` is
    set; with no points at all, the images do not change. Masks are not used. Integers
    become the dtype of the layer. Under a half-precision policy, points are not
    rounded, and the spline and the positions are computed in float32.
    """

    def __init__(
        self,
        *,
        interpolation_order: Literal[1, 2, 3] = 2,
        regularization_weight: float = 0.0,
        num_boundary_points: int = 0,
        return_flow: bool = False,
        data_format: DataFormat | None = None,
        **kwargs: object,
    ) -> None:
        # In half precision, the place of a point could be a pixel off.
        super().__init__(autocast=False, **kwargs)
        self.interpolation_order = _checks.one_of(
            "interpolation_order", interpolation_order, (1, 2, 3)
        )
        self.regularization_weight = _checks.number(
            "regularization_weight", regularization_weight, low=0
        )
        self.num_boundary_points = _checks.non_negative_int(
            "num_boundary_points", num_boundary_points
        )
        self.return_flow = _checks.one_of("return_flow", return_flow, (True, False))
        self.data_format = resolve_data_format(data_format)

    def build(self, input_shape: Sequence[Shape]) -> None:
        """Check the three shapes."""
        self._check(input_shape)

    def call(self, inputs: Sequence[Tensor]) -> Tensor | tuple[Tensor, Tensor]:
        """Return the warped images, and the flow if it was asked for."""
        self._check([tuple(one.shape) for one in inputs])
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        images, source, destination = (ops.cast(one, dtype) for one in inputs)
        if self.data_format == "channels_first":
            images = ops.moveaxis(images, 1, -1)
        grid = _grid(images)
        flow = self._flow(images, source, destination, grid)
        places = grid - flow
        outputs = sample(images, places[..., 0], places[..., 1], fill_mode="nearest")
        results = [outputs, flow] if self.return_flow else [outputs]
        if self.data_format == "channels_first":
            results = [ops.moveaxis(one, -1, 1) for one in results]
        results = [ops.cast(one, self.compute_dtype) for one in results]
        return (results[0], results[1]) if self.return_flow else results[0]

    def compute_output_shape(
        self, input_shape: Sequence[Shape]
    ) -> Shape | tuple[Shape, Shape]:
        """Return the shape of the images, and that of the flow if it is returned."""
        self._check(input_shape)
        images = tuple(input_shape[0])
        if not self.return_flow:
            return images
        height, width = (images[axis] for axis in spatial_axes(self.data_format))
        if self.data_format == "channels_first":
            return images, (images[0], 2, height, width)
        return images, (images[0], height, width, 2)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "interpolation_order": self.interpolation_order,
            "regularization_weight": self.regularization_weight,
            "num_boundary_points": self.num_boundary_points,
            "return_flow": self.return_flow,
            "data_format": self.data_format,
        }

    def _flow(
        self, images: Tensor, source: Tensor, destination: Tensor, grid: Tensor
    ) -> Tensor:
        """Return how far each pixel of the output has moved."""
        batch, height, width, _ = ops.shape(images)
        moves = destination - source
        if self.num_boundary_points:
            border = _border(self.num_boundary_points, height, width, grid.dtype)
            border = ops.broadcast_to(border, (batch, *border.shape))
            destination = ops.concatenate([destination, border], axis=1)
            moves = ops.concatenate([moves, ops.zeros_like(border)], axis=1)
        queries = ops.reshape(grid, (1, height * width, 2))
        flow = interpolate_spline(
            destination,
            moves,
            ops.broadcast_to(queries, (batch, height * width, 2)),
            self.interpolation_order,
            self.regularization_weight,
        )
        return ops.reshape(flow, (batch, height, width, 2))

    def _check(self, shapes: Sequence[Shape]) -> None:
        """Raise unless the shapes are those of images and two lists of points."""
        if len(shapes) != 3 or not all(isinstance(s, (list, tuple)) for s in shapes):
            raise ValueError(
                f"{self.name} expects a list of three tensors: images, and where their "
                f"control points are and go. Received: shapes {[*shapes]}"
            )
        images, *points = shapes
        check_images(self.name, images, self.data_format)
        if not _checks.shapes_agree(*points) or not _checks.shapes_agree(
            points[0], (images[0], None, 2)
        ):
            raise ValueError(
                f"{self.name} expects control points of shape (batch, points, 2), as "
                "many in the source as in the destination. Received: source of shape "
                f"{tuple(points[0])}, destination of shape {tuple(points[1])}, images "
                f"of shape {tuple(images)}"
            )


def _grid(images: Tensor) -> Tensor:
    """Return the `(y, x)` of each pixel, shaped `(height, width, 2)`."""
    _, height, width, _ = ops.shape(images)
    y, x = (ops.arange(size, dtype="int32") for size in (height, width))
    grid = ops.meshgrid(y, x, indexing="ij")
    return ops.cast(ops.stack(grid, axis=-1), images.dtype)


def _border(count: int, height: Tensor, width: Tensor, dtype: str) -> Tensor:
    """Return points around an image, shaped `(4 * count, 2)`, each corner once."""
    along = np.arange(count) / count
    low, high = np.zeros(count), np.ones(count)
    unit = [
        np.concatenate([low, along, high, 1 - along]),
        np.concatenate([along, high, 1 - along, low]),
    ]
    last = ops.stack([ops.cast(size - 1, dtype) for size in (height, width)])
    return ops.cast(np.stack(unit, axis=-1), dtype) * last

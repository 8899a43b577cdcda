"""Cutting and filling along one axis, whether or not its size is known."""

from keras import ops

from keras_ext._types import Tensor


def part(x: Tensor, axis: int, start: Tensor | None, stop: Tensor | None) -> Tensor:
    """Return what lies from `start` to before `stop` along `axis`."""
    return x[(slice(None),) * axis + (slice(start, stop),)]


def filled(
    x: Tensor, axis: int, before: int, after: int, value: float | None = None
) -> Tensor:
    """Return `x` with `value`, or zeros, on both sides of `axis`."""
    widths = [(0, 0)] * len(x.shape)
    widths[axis] = (before, after)
    return ops.pad(x, widths, constant_values=value)


def fitted(
    x: Tensor, axis: int, size: Tensor, margin: int, value: float | None = None
) -> Tensor:
    """Return `x` with `size` entries along `axis`, cut or filled up at the end.

    Args:
        x: Tensor.
        axis: Non-negative integer.
        size: Integer, or an integer tensor where it is known only at run time.
        margin: The most that may have to be filled up then.
        value: What it is filled up with. Default: `None`, for zeros.
    """
    present = ops.shape(x)[axis]
    if isinstance(present, int) and isinstance(size, int):
        margin = max(size - present, 0)
        if size >= present:
            return filled(x, axis, 0, margin, value) if margin else x
    elif margin:
        x = filled(x, axis, 0, margin, value)
    return part(x, axis, None, size)

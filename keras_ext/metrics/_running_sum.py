"""Sums that stay exact over many more batches than float32 can count."""

import keras

from keras_ext._types import Tensor


def sum_dtype(dtype: str) -> str:
    """Return the dtype that a metric of dtype `dtype` should sum in."""
    return keras.backend.result_type(dtype, "float32")


def add(total: Tensor, rest: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the new total, and what rounding has cut off it so far.

    A float32 counts to 2**24 and then stands still, since adding 1 is rounded away.
    What is rounded away is itself a float32 ("two-sum", D. E. Knuth, The Art of
    Computer Programming, volume 2, section 4.2.2); kept in `rest` and added with the
    next values ("compensated summation", W. Kahan, Further Remarks on Reducing
    Truncation Errors, 1965, https://doi.org/10.1145/363707.363723), it lets the pair
    count to 2**48. Other sums lose what `values + rest` is rounded by, which is what
    `values`, the sum of a batch, has been rounded by before.
    """
    values = values + rest
    new_total = total + values
    back = new_total - total
    return new_total, (total - (new_total - back)) + (values - back)


def add_variables(
    metric: keras.metrics.Metric, shape: tuple[int, ...]
) -> tuple[keras.Variable, keras.Variable]:
    """Give a metric the pair of variables, `total` and `rest`, of a running sum."""
    dtype = sum_dtype(metric.dtype)
    total, rest = (
        metric.add_variable(shape, "zeros", dtype=dtype, name=name)
        for name in ("total", "rest")
    )
    return total, rest


def accumulate(total: keras.Variable, rest: keras.Variable, values: Tensor) -> None:
    """Add `values` to the sum that the pair of variables holds."""
    new_total, new_rest = add(total.value, rest.value, values)
    total.assign(new_total)
    rest.assign(new_rest)

"""Powers of numbers just below 1, which float32 hardly holds."""

import math

from keras import ops

from keras_ext._types import Tensor


def one_minus_power(base: float, exponent: Tensor) -> Tensor:
    """Return `1 - base^exponent`, exact also where the power is nearly 1.

    Args:
        base: Float in [0, 1).
        exponent: Positive numbers, as a float tensor.
    """
    return -ops.expm1((math.log(base) if base else -math.inf) * exponent)

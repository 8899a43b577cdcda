"""Reading an optimizer's learning rate."""

from typing import Any

from keras import ops


def read_learning_rate(optimizer: Any) -> float:
    """Return the rate that the optimizer would use now."""
    rate = ops.convert_to_tensor(optimizer.learning_rate)
    return float(ops.convert_to_numpy(rate))

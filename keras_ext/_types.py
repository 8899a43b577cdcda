"""Type names for what Keras leaves untyped."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

Tensor: TypeAlias = Any
"""A tensor of the active Keras backend, or anything it can convert to one."""

Shape: TypeAlias = tuple[int | None, ...]
"""A static shape; `None` stands for a size known only at run time."""

Activation: TypeAlias = Any
"""A Keras activation name, a callable `Tensor -> Tensor`, or `None` for linear."""

Initializer: TypeAlias = Any
"""A Keras initializer name, configuration or instance."""

Regularizer: TypeAlias = Any
"""A Keras regularizer name, configuration or instance, or `None`."""

Normalization: TypeAlias = Any
"""`"batch"`, a Keras layer that every convolution gets a copy of, or `None`."""

DataFormat: TypeAlias = Literal["channels_first", "channels_last"]
"""Position of the channel axis."""

Reduction: TypeAlias = Literal[
    "sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none"
]
"""How a loss reduces its per-sample values; `None` means `"none"`."""

Logs: TypeAlias = Mapping[str, Any]
"""Names and numbers that a training step reports to callbacks."""

Config: TypeAlias = dict[str, Any]
"""What `get_config` returns."""

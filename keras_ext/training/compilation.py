"""Whether XLA compiles a step, or TensorFlow runs it as a graph: a fixed rule."""

from typing import Any

import tensorflow as tf

WORTH_STEPS = 1000
"""XLA takes as long to compile a step as some thousand steps take: what is shorter is
not worth it."""

SLOW_ON_CPU = (
    "Conv2D",
    "Conv3D",
    "DepthwiseConv2dNative",
    "MaxPool",
    "MaxPool3D",
    "AvgPool",
    "AvgPool3D",
)
"""Operations that XLA runs on one core of a CPU, without the libraries for them."""

UNCOMPILABLE = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)
"""What TensorFlow raises for a function that XLA can't compile."""


def suits_xla(graph: tf.Graph, strategy: tf.distribute.Strategy) -> bool:
    """Whether XLA is expected to run a traced step faster than TensorFlow does.

    - Under a strategy with several replicas: no.
    - On a GPU or TPU: yes.
    - On a CPU: yes, unless the step contains convolution or pooling.

    The rule looks at the step and the machine only, never at a clock, so that a
    program computes the same numbers whenever it is run.
    """
    if strategy.num_replicas_in_sync > 1:
        return False
    if tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"):
        return True
    return operations(graph).isdisjoint(SLOW_ON_CPU)


def operations(graph: Any) -> set[str]:
    """Return the types of all operations in a graph and in the functions it calls."""
    definition = graph.as_graph_def()
    functions = definition.library.function
    found = {node.op for node in definition.node}
    return found.union(*({node.op for node in one.node_def} for one in functions))

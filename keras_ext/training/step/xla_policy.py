"""Whether XLA compiles a step, or TensorFlow runs it as a graph: a fixed rule."""

from typing import Any

import tensorflow as tf

WORTH_STEPS = 1000
"""XLA takes as long to compile a step as some thousand steps take. Fewer are not worth
it."""

SLOW_ON_CPU = frozenset(
    {
        "Conv2D",
        "Conv3D",
        "DepthwiseConv2dNative",
        "MaxPool",
        "MaxPool3D",
        "AvgPool",
        "AvgPool3D",
    }
)
"""Operations that XLA runs on one core of a CPU, without the libraries for them."""

UNCOMPILABLE = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)
"""What TensorFlow raises for a function that XLA can't compile."""

UNREPEATABLE = frozenset(
    {
        "Multinomial",
        "ParameterizedTruncatedNormal",
        "RandomGamma",
        "RandomPoissonV2",
        "RandomShuffle",
        "RandomStandardNormal",
        "RandomUniform",
        "RandomUniformInt",
        "TruncatedNormal",
    }
)
"""Operations that draw random numbers and keep their state where nobody can save it."""


def suits_xla(found: frozenset[str], strategy: tf.distribute.Strategy) -> bool:
    """Whether XLA is expected to run a step faster than TensorFlow does.

    - Under a strategy with several replicas: no.
    - On a GPU or TPU: yes.
    - On a CPU: yes, unless the step contains convolution or pooling.

    The rule looks at the step and the machine only, never at a clock, so that a
    program computes the same numbers whenever it is run.

    Args:
        found: The types of the operations in the step.
        strategy: What distributes it.
    """
    if strategy.num_replicas_in_sync > 1:
        return False
    return not on_cpu() or found.isdisjoint(SLOW_ON_CPU)


def on_cpu() -> bool:
    """Whether there is nothing faster than a CPU."""
    faster = ("GPU", "TPU")
    return not any(tf.config.list_logical_devices(kind) for kind in faster)


def operations(graph: Any) -> frozenset[str]:
    """Return the types of all operations in a graph and in the functions it calls."""
    definition = graph.as_graph_def()
    functions = definition.library.function
    found = {node.op for node in definition.node}
    found.update(node.op for one in functions for node in one.node_def)
    return frozenset(found)

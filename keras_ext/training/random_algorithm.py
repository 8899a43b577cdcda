"""One algorithm for random numbers, whichever way a step is compiled."""

import contextlib
import functools
import inspect
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

_SAMPLERS = (
    (tf.random, "stateless_uniform", "alg"),
    (tf.random, "stateless_normal", "alg"),
    (tf.random, "stateless_truncated_normal", "alg"),
    (tf.random.experimental, "stateless_shuffle", "alg"),
    (tf.nn.experimental, "stateless_dropout", "rng_alg"),
)


@contextlib.contextmanager
def philox() -> Iterator[None]:
    """Have `tf.random.stateless_*` and Keras's Dropout draw with Philox.

    Keras leaves the choice to TensorFlow, which outside XLA takes Philox on CPU and
    GPU, so there this changes nothing. Inside XLA on a CPU it takes another algorithm
    that is twelve times slower, and would be most of a small network's step. It holds
    while functions are traced inside the context; where TensorFlow has no such
    function, or the caller says which algorithm to use, nothing happens.
    """
    replaced = []
    for module, name, argument in _SAMPLERS:
        function = getattr(module, name, None)
        if function is not None:
            replaced.append((module, name, function))
            setattr(module, name, _with_philox(function, argument))
    try:
        yield
    finally:
        for module, name, function in replaced:
            setattr(module, name, function)


def _with_philox(function: Any, argument: str) -> Any:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def sampler(*args: Any, **kwargs: Any) -> Any:
        call = signature.bind(*args, **kwargs)
        if call.arguments.get(argument) in (None, "auto_select"):
            call.arguments[argument] = "philox"
        return function(*call.args, **call.kwargs)

    return sampler

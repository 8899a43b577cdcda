"""Which algorithm draws random numbers in a compiled step."""

import contextlib
import functools
import inspect
from collections.abc import Iterator
from typing import Any, Literal

import tensorflow as tf

_SAMPLERS = (
    (tf.random, "stateless_uniform", "alg"),
    (tf.random, "stateless_normal", "alg"),
    (tf.random, "stateless_truncated_normal", "alg"),
    (tf.random.experimental, "stateless_shuffle", "alg"),
    (tf.nn.experimental, "stateless_dropout", "rng_alg"),
)


Algorithm = Literal["philox", "threefry"]


@contextlib.contextmanager
def drawing_with(algorithm: Algorithm) -> Iterator[None]:
    """Have `tf.random.stateless_*` and Keras's Dropout draw with one algorithm.

    Keras leaves the choice to TensorFlow, which takes Philox on CPU and GPU. Inside
    XLA on a CPU it takes a form of it that is twelve times slower, and would be most of
    a small network's step; there ThreeFry is the fastest. It holds while functions are
    traced inside the context. Where TensorFlow has no such function, or the caller
    says which algorithm to use, nothing happens.
    """
    replaced = []
    for module, name, argument in _SAMPLERS:
        function = getattr(module, name, None)
        if function is not None:
            replaced.append((module, name, function))
            setattr(module, name, _with(algorithm, function, argument))
    try:
        yield
    finally:
        for module, name, function in replaced:
            setattr(module, name, function)


def _with(algorithm: Algorithm, function: Any, argument: str) -> Any:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def sampler(*args: Any, **kwargs: Any) -> Any:
        call = signature.bind(*args, **kwargs)
        if call.arguments.get(argument) in (None, "auto_select"):
            call.arguments[argument] = algorithm
        return function(*call.args, **call.kwargs)

    return sampler

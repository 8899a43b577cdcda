"""The algorithm that draws random numbers in a compiled step."""

import contextlib
import functools
import inspect
import threading
from collections.abc import Iterator
from typing import Any, Literal

import tensorflow as tf

# The functions that Keras draws with, looked up in these public modules at every call,
# and the name of the argument that selects the algorithm.
_SAMPLERS = (
    (tf.random, "stateless_uniform", "alg"),
    (tf.random, "stateless_normal", "alg"),
    (tf.random, "stateless_truncated_normal", "alg"),
    (tf.random.experimental, "stateless_shuffle", "alg"),
    (tf.nn.experimental, "stateless_dropout", "rng_alg"),
)


Algorithm = Literal["philox", "threefry"]


# The functions are replaced for all threads; the algorithm is local to a thread.
_here = threading.local()
_lock = threading.Lock()
_replaced: list[tuple[Any, str, Any]] = []
# Open contexts in all threads. The first one replaces the functions and the last one
# restores them: in between, a sampler would be mistaken for TensorFlow's own.
_users = 0


@contextlib.contextmanager
def drawing_with(algorithm: Algorithm) -> Iterator[None]:
    """Make `tf.random.stateless_*` and Keras's Dropout draw with one algorithm.

    Keras leaves the choice to TensorFlow, which takes Philox on CPU and GPU. Inside XLA
    on a CPU, it uses a form of it that is twelve times slower, and would take most of a
    small network's step; there, ThreeFry is the fastest. The context applies to
    functions that this thread traces inside it. If TensorFlow has no such function, or
    the caller names the algorithm, nothing happens.
    """
    _install()
    # Contexts may be nested.
    before = getattr(_here, "algorithm", None)
    _here.algorithm = algorithm
    try:
        yield
    finally:
        _here.algorithm = before
        _restore()


def _install() -> None:
    """Install the samplers, unless another thread has done so."""
    global _users
    with _lock:
        _users += 1
        if _users > 1:
            return
        for module, name, argument in _SAMPLERS:
            function = getattr(module, name, None)
            if function is not None:
                _replaced.append((module, name, function))
                setattr(module, name, _sampler(function, argument))


def _restore() -> None:
    """Restore TensorFlow's functions when no thread needs the samplers anymore."""
    global _users
    with _lock:
        _users -= 1
        while _replaced and not _users:
            module, name, function = _replaced.pop()
            setattr(module, name, function)


def _sampler(function: Any, argument: str) -> Any:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def sampler(*args: Any, **kwargs: Any) -> Any:
        algorithm = getattr(_here, "algorithm", None)
        # Another thread has replaced the functions, for its own tracing.
        if algorithm is None:
            return function(*args, **kwargs)
        # By name, even if the caller passes the algorithm by position.
        call = signature.bind(*args, **kwargs)
        if call.arguments.get(argument) in (None, "auto_select"):
            call.arguments[argument] = algorithm
        return function(*call.args, **call.kwargs)

    return sampler

"""Variables of Keras 3 that share the `tf.Variable`s of Keras 2."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import keras
import tensorflow as tf

Result = TypeVar("Result")


@tf.autograph.experimental.do_not_convert
def outside(function: Callable[[], Result], path: str = "") -> Result:
    """Call a function outside of every graph and every scope, except the strategy's.

    Keras builds subclassed models, and updates metrics for the first time, in a
    `keras.StatelessScope`, which postpones the creation of variables: what shares an
    existing one would be given another. Graphs and scopes belong to a thread, so
    another thread has none.

    Args:
        function: Creates variables.
        path: Path of what they belong to, such as `"model/layer"`.

    Returns:
        What the function returns.
    """
    inside = tf.distribute.has_strategy()
    strategy = tf.distribute.get_strategy()

    def run() -> Result:
        with contextlib.ExitStack() as scopes:
            if inside:
                scopes.enter_context(strategy.scope())
            for name in filter(None, path.split("/")):
                scopes.enter_context(keras.name_scope(name))
            return function()

    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(run).result()


@contextlib.contextmanager
def recording() -> Iterator[list[Any]]:
    """Collect the `tf.Variable`s that are created in this context, in their order."""
    found: list[Any] = []

    def record(next_creator: Callable[..., Any], **kwargs: Any) -> Any:
        variable = next_creator(**kwargs)
        found.append(variable)
        return variable

    with tf.variable_creator_scope(record):
        yield found


@contextlib.contextmanager
def sharing(variable: Any, owner: str = "") -> Iterator[dict[str, Any]]:
    """Let the variable that Keras creates in this context be an existing one.

    Args:
        variable: `tf.Variable`.
        owner: Name of what it belongs to, which Keras 3 does not repeat.

    Yields:
        The arguments that describe it: shape, dtype, initializer and name.
    """
    name = variable.name.partition(":")[0].removeprefix(f"{owner}/").replace("/", "_")
    dtype = getattr(variable, "true_dtype", variable.dtype)
    with sharing_by_name({name: variable}):
        yield {
            "shape": tuple(variable.shape),
            "dtype": tf.as_dtype(dtype).name,
            # Never called.
            "initializer": "zeros",
            "name": name,
        }


@contextlib.contextmanager
def sharing_by_name(variables: Mapping[str, Any]) -> Iterator[None]:
    """Let the variables that Keras creates in this context be existing ones.

    Args:
        variables: The `tf.Variable`s, by the names that Keras gives. Other values are
            ignored.
    """

    def existing(next_creator: Callable[..., Any], **kwargs: Any) -> Any:
        found = variables.get(kwargs.get("name", ""))
        return found if isinstance(found, tf.Variable) else next_creator(**kwargs)

    with tf.variable_creator_scope(existing):
        yield

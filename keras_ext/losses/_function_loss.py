"""Losses made of a function of targets and predictions, and checked arguments."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeAlias, TypeVar

import keras

from keras_ext._types import Config, Reduction, Tensor

Check: TypeAlias = Callable[[str, Any], Any]
"""Returns the value to use for the argument of this name and value, or raises."""

Rule: TypeAlias = Callable[..., None]
"""Raises if the arguments that it names are incompatible."""

P = ParamSpec("P")
R = TypeVar("R")


def checked(
    *rules: Rule, **checks: Check
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that attaches checks of a function's arguments to it.

    The function is called with the values that the checks return. `FunctionLoss` uses
    the same checks when a loss is created.

    Args:
        *rules: Checks of several arguments together, run last.
        **checks: A check for each argument that needs one.
    """

    def table(arguments: Mapping[str, Any]) -> Config:
        valid = dict(arguments)
        for name, check in checks.items():
            valid[name] = check(name, arguments[name])
        for rule in rules:
            rule(**{name: valid[name] for name in inspect.signature(rule).parameters})
        return valid

    def decorator(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                given = signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{function.__name__}() {error}") from None
            given.apply_defaults()
            given.arguments.update(table(given.arguments))
            return function(*given.args, **given.kwargs)

        call.table = table  # type: ignore[attr-defined]  # functions take any
        return call

    return decorator


class FunctionLoss(keras.losses.Loss):
    """A loss that is a function of targets, predictions and some arguments.

    The constructor of a subclass names the arguments and passes them on. Each is
    checked as the function checks it, and becomes an attribute of the loss and an entry
    of its configuration.

    May be overridden: `call`, which works with `_unchecked`.

    Args:
        function: Computes what `call` returns from `y_true`, `y_pred` and the
            arguments. It may be decorated with `checked`.
        reduction: As in every `keras.losses.Loss`.
        name: Name of the loss.
        dtype: Dtype of the loss.
        **arguments: Arguments of the function.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        reduction: Reduction | None,
        name: str | None,
        dtype: str | keras.DTypePolicy | None,
        **arguments: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self._function = function
        self._names = tuple(arguments)
        check = getattr(function, "table", dict)
        for argument, value in check(arguments).items():
            setattr(self, argument, value)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of every sample."""
        return self._unchecked(y_true, y_pred)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {**super().get_config(), **self._arguments(), "dtype": self.dtype}

    def _arguments(self) -> Config:
        return {name: getattr(self, name) for name in self._names}

    def _unchecked(self, *tensors: Tensor | None) -> Any:
        """Return the function's result for `tensors`, without checking again."""
        return inspect.unwrap(self._function)(*tensors, **self._arguments())


class Masked(keras.layers.Layer):
    """Attaches a mask to a tensor: `Masked()(values, mask=mask)` returns `values`.

    A loss whose values carry a mask is averaged over the values that are kept. In
    Keras's public API, only layers attach masks.
    """

    def __init__(self, dtype: str) -> None:
        super().__init__(dtype=dtype, autocast=False)
        self.supports_masking = True

    def call(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return `values`; Keras passes the mask on."""
        return values

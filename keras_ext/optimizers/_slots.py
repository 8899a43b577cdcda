"""What an optimizer keeps for every variable."""

from collections.abc import Iterator, Sequence
from typing import Any


class Slots:
    """Finds what an optimizer keeps for a variable.

    Not a dict: Keras and TensorFlow look into the containers that are attributes of an
    optimizer, and would take the model's variables for the optimizer's own.

    Args:
        variables: The variables to train.
        slots: One list or more with what belongs to each of them; `None` for nothing.
    """

    def __init__(self, variables: Sequence[Any], *slots: Sequence[Any]) -> None:
        self._rows = list(zip(variables, *slots, strict=True))
        # Holding on to what the numbers stand for keeps them from being used again.
        self._known = [(form, row[1:]) for row in self._rows for form in _forms(row[0])]
        self._by_id = {id(form): found for form, found in self._known}

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Yield every variable, followed by what is kept for it."""
        return iter(self._rows)

    def of(self, variable: Any) -> tuple[Any, ...]:
        """Return what is kept for a variable, as `update_step` is given it."""
        return self._by_id[id(variable)]


def _forms(variable: Any) -> list[Any]:
    """Return what a variable may be handed to `update_step` as.

    The TensorFlow backend hands over the `tf.Variable` in a Keras variable, or, under
    a strategy, the part of it that is on one replica.
    """
    inner = getattr(variable, "value", None)
    if not hasattr(inner, "assign"):
        # A backend whose values are plain tensors; or a `tf.Variable` itself.
        inner = variable
    return [variable, inner, *getattr(inner, "values", ())]

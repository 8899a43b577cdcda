"""The state that an optimizer keeps for every variable."""

from collections.abc import Iterator, Sequence
from typing import Any


class Slots:
    """Finds the state that an optimizer keeps for a variable.

    Not a dict: Keras and TensorFlow look into containers that are attributes of an
    optimizer, and would take the model's variables for the optimizer's.

    Args:
        variables: The variables to train.
        slots: One or more lists with an entry for each of them; `None` for nothing.
    """

    def __init__(self, variables: Sequence[Any], *slots: Sequence[Any]) -> None:
        self._rows = list(zip(variables, *slots, strict=True))
        # Holding on to the objects keeps their ids from being reused.
        self._known = [(form, row[1:]) for row in self._rows for form in forms(row[0])]
        self._by_id = {id(form): found for form, found in self._known}

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Yield every variable, followed by its state."""
        return iter(self._rows)

    def of(self, variable: Any) -> tuple[Any, ...]:
        """Return the state of a variable, as `update_step` receives it."""
        return self._by_id[id(variable)]


def forms(variable: Any) -> list[Any]:
    """Return the forms in which `update_step` may receive a variable.

    The TensorFlow backend passes the `tf.Variable` in a Keras variable or, under a
    strategy, its component on one replica.
    """
    inner = getattr(variable, "value", None)
    if not hasattr(inner, "assign"):
        # A backend whose values are plain tensors; or a `tf.Variable` itself.
        inner = variable
    return [variable, inner, *getattr(inner, "values", ())]

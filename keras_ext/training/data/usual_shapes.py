"""Which batches of an epoch are alike, and which are odd."""

from collections.abc import Sequence
from typing import Any


class UsualShapes:
    """The shapes of most batches of an epoch, as they are known so far.

    Those of the first; or of the second, if it has more samples and is otherwise the
    same: where the order of whole batches is shuffled, the odd one may come first.

    Attributes:
        value: A list of sizes for each array of a batch; empty if the batches differ in
            more than the number of samples, so that none are alike; `None` before the
            first batch. Plain data, to be saved with the position in the epoch.
    """

    def __init__(self, value: list[list[int]] | None = None) -> None:
        self.value = value

    def take(self, leaves: Sequence[Any], number: int) -> bool:
        """Return whether a batch has the usual shapes, when it is handed out.

        Args:
            leaves: Its arrays.
            number: Its number in the epoch.
        """
        shapes = [[int(size) for size in leaf.shape] for leaf in leaves]
        if self.value is None or self.are_outgrown(leaves, number):
            self.value = shapes
        elif [shape[1:] for shape in shapes] != [shape[1:] for shape in self.value]:
            self.value = []
        return shapes == self.value

    def are_outgrown(self, leaves: Sequence[Any], number: int) -> bool:
        """Whether this batch shows that the first was an odd one."""
        return (
            number == 1
            and bool(self.value)
            and outgrow([tuple(shape) for shape in self.value or []], leaves)
        )


def outgrow(shapes: Sequence[tuple[int, ...]], leaves: Sequence[Any]) -> bool:
    """Whether arrays have more samples than these shapes, and no other difference."""
    return len(shapes) == len(leaves) and all(
        len(leaf) > shape[0] and tuple(leaf.shape[1:]) == shape[1:]
        for leaf, shape in zip(leaves, shapes, strict=True)
    )

"""What a source of batches is.

A source knows how many batches an epoch has (where that can be known) and gives the
batches of any epoch, one by one or several together.
"""

import abc
from collections.abc import Callable, Iterator
from typing import Any

from keras_ext.training.chunks import Chunk, SingleBatch


class Source(abc.ABC):
    """Batches, epoch by epoch. Subclasses implement `num_batches` and `epoch`."""

    @property
    @abc.abstractmethod
    def num_batches(self) -> int | None:
        """Batches per epoch; `None` while that is not known."""

    @abc.abstractmethod
    def epoch(self, index: int) -> Iterator[Any]:
        """Yield the batches of epoch `index` (0 for the first)."""

    def chunks(self, index: int, size: Callable[[], int]) -> Iterator[Chunk]:
        """Yield the batches of epoch `index`, several together where that can be.

        Args:
            index: Number of the epoch.
            size: Called before each chunk, says how many batches it may have.
        """
        del size
        return (SingleBatch(batch) for batch in self.epoch(index))

    def close(self) -> None:
        """Let go of what is being read; the next epoch begins anew."""
        return  # nothing is read beyond the end of an epoch

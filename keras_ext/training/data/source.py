"""The interface of a source of batches.

A source knows how many batches an epoch has (if that can be known) and yields the
batches of any epoch, one by one or several together.
"""

import abc
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from keras_ext.training.base import host_random
from keras_ext.training.data.chunks import Chunk, SingleBatch

Restores = Sequence[Callable[[Any], None]]


class Source(abc.ABC):
    """Batches, epoch by epoch. Subclasses implement `num_batches` and `epoch`."""

    @property
    @abc.abstractmethod
    def num_batches(self) -> int | None:
        """Batches per epoch; `None` while that is not known."""

    @abc.abstractmethod
    def epoch(self, index: int, start: int = 0) -> Iterator[Any]:
        """Yield the batches of epoch `index` (0 for the first) from `start` on."""

    def chunks(
        self, index: int, size: Callable[[], int], start: int = 0
    ) -> Iterator[Chunk]:
        """Yield the batches of epoch `index`, several together where possible.

        Args:
            index: Number of the epoch.
            size: Called before each chunk; returns how many batches it may have.
            start: Number of the batch to begin with.
        """
        del size
        return (SingleBatch(batch) for batch in self.epoch(index, start))

    def description(self) -> dict[str, Any]:
        """Return what must be equal when a run is continued with this source."""
        return {"batches": self.num_batches}

    def state(self, *, iterators: bool) -> tuple[dict[str, Any], list[Any]]:
        """Return what is needed, in addition to epoch and batch, to continue from here.

        Consists of plain data and iterators of datasets.

        Args:
            iterators: Whether iterators can be saved.
        """
        del iterators
        return {}, []

    def set_state(self, state: dict[str, Any], restores: Restores | None) -> None:
        """Continue from where `state` was read, when the next epoch is requested.

        Args:
            state: What `state` returned.
            restores: For every iterator that `state` returned, a function that makes
                another one continue where it stopped. `None` if they could not be
                saved.
        """
        del state, restores

    def example(self) -> Chunk | None:
        """Return a batch like those to come, or `None` if that would consume one."""
        return None

    def reseed(self, seed: int) -> None:
        """Draw later orders from another seed, if there is one."""
        del seed

    def allow(self, count: int) -> None:
        """Let so many more batches be read, and no others.

        For what is read ahead of the steps, and has no end or is read elsewhere, too.
        """
        del count

    def keep_draws_in_order(self) -> None:
        """Read no batch ahead that draws random numbers of Python's or NumPy's.

        Their state is saved with a run.
        """
        return  # nothing is read before its step

    def close(self) -> None:
        """Release what is being read; the next epoch begins at the start."""
        return  # nothing is read beyond the end of an epoch


def skip(batches: Iterator[Any], count: int) -> Iterator[Any]:
    """Read `count` batches that were used before, and return the following ones.

    The random numbers of Python and NumPy drawn for them are drawn again.
    """
    if count:
        warnings.warn(
            "The position in the data was not saved. To continue where the run was, "
            f"{count} batches are read again and dropped. That takes as long as "
            "reading them, and the run continues exactly if they come in the same "
            "order as before.",
            stacklevel=3,
        )
        # The saved random state already includes what these batches draw.
        with host_random.untouched():
            for _ in range(count):
                next(batches, None)
    return batches

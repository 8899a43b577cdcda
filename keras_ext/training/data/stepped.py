"""A fixed number of batches per epoch, regardless of the data."""

import warnings
from collections.abc import Callable, Generator, Iterator
from typing import Any

from keras_ext import _checks
from keras_ext.training.data.chunks import Chunk, SingleBatch
from keras_ext.training.data.source import Source


class SteppedSource(Source):
    """A fixed number of batches per epoch, from a source that may be infinite."""

    def __init__(self, source: Source, steps: int) -> None:
        self._source = source
        self._steps = _checks.positive_int("steps", steps)
        self._running: Iterator[Chunk] | None = None
        # The source's epoch that is being read, and how many of its batches were read.
        self._began: tuple[int, int] | None = None
        # How many batches the current epoch requests at a time.
        self._size: Callable[[], int] = lambda: 1

    @property
    def num_batches(self) -> int:
        """The requested number of steps."""
        return self._steps

    def epoch(self, index: int, start: int = 0) -> Iterator[Any]:
        """Yield the next batches, and begin again when the data has ended."""

        def one_by_one(index: int, start: int) -> Iterator[Chunk]:
            return (SingleBatch(batch) for batch in self._source.epoch(index, start))

        for chunk in self._walk(index, start, one_by_one):
            yield from chunk

    def chunks(
        self, index: int, size: Callable[[], int], start: int = 0
    ) -> Iterator[Chunk]:
        """Yield the next batches, several together, as `epoch` does one by one."""

        def several(index: int, start: int) -> Iterator[Chunk]:
            # Not the current `size`: what begins here may be continued in a later
            # epoch.
            return self._source.chunks(index, lambda: self._size(), start)

        return self._walk(index, start, several, size)

    def _walk(
        self,
        index: int,
        taken: int,
        begin: Callable[[int, int], Iterator[Chunk]],
        size: Callable[[], int] = lambda: 1,
    ) -> Iterator[Chunk]:
        """Yield the next batches up to the number of an epoch."""
        before = taken
        self._source.allow(self._steps - taken)
        # A chunk must not extend into the next epoch.
        self._size = lambda: min(size(), self._steps - taken)
        # Continue what the last epoch left. If that yields nothing, begin the source
        # again, but only once: it may be empty.
        for begin_anew in (False, True):
            if begin_anew:
                self._running = self._began = None
            # A source that is continued stays in the epoch, and thus the order, that it
            # began in.
            source_index, read = self._began or (index, 0)
            if self._running is None:
                self._running = begin(source_index, read)
            while taken < self._steps:
                chunk = next(self._running, None)
                if chunk is None:
                    break
                taken += len(chunk)
                read += len(chunk)
                # Counted before the chunk is handed out: by the time the run is saved,
                # its steps have been made.
                self._began = source_index, read
                yield chunk
            # Data that runs out ends the epoch; the next epoch begins another pass.
            if taken > before or taken == self._steps:
                break
        if taken < self._steps:
            self._running = self._began = None
            self._warn(taken)

    def state(self, *, iterators: bool) -> tuple[dict[str, Any], list[Any]]:
        """Return how far the source was read, and its own state."""
        state, found = self._source.state(iterators=iterators)
        return {"began": self._began, "source": state}, found

    def set_state(self, state: dict[str, Any], restores: Any) -> None:
        """Continue in the source where it was left."""
        self._running, self._began = None, state["began"]
        self._source.set_state(state["source"], restores)

    def example(self) -> Chunk | None:
        """Return one of the source's batches, if that consumes none."""
        return self._source.example()

    def reseed(self, seed: int) -> None:
        """Reseed the source, for when it begins again."""
        self._source.reseed(seed)

    def keep_draws_in_order(self) -> None:
        """Have the source do so."""
        self._source.keep_draws_in_order()

    def close(self) -> None:
        """Release what is being read; the next epoch begins at the start.

        Unless they come from an iterator, the batches are then the same again.
        """
        # Its `finally` ends the prefetching threads; a `map` has nothing to close.
        if isinstance(self._running, Generator):
            self._running.close()
        self._running = self._began = None

    def _warn(self, taken: int) -> None:
        if taken:
            warnings.warn(
                f"The data ended after {taken} of {self._steps} steps of this epoch, "
                "which ends the epoch. Lower `steps_per_epoch`, or repeat the data "
                "(`dataset.repeat()`).",
                stacklevel=3,
            )

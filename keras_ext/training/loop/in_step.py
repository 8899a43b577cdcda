"""Batches that several workers use at the same time."""

from collections.abc import Callable, Iterator

from keras_ext.training.base.workers import Workers, described_error
from keras_ext.training.data.chunks import Chunk
from keras_ext.training.loop.callback_contract import Mode


class InStep:
    """Hands out batches when all workers have them.

    Args:
        workers: The workers.
        mode: What the steps do.
        wanted: Called with the number of the next step and how many more will have been
            made by then; returns how many this worker would make in one call.

    Attributes:
        size: How many batches the next chunk may have, the same for all workers.
        flags: The flags of any worker, when they last agreed.
    """

    def __init__(
        self, workers: Workers, mode: Mode, wanted: Callable[[int, int], int]
    ) -> None:
        self._workers = workers
        self._mode = mode
        self._wanted = wanted
        self.size = 1
        self.flags = 0

    def begin(self, at: int, *, hooks: int, keeps_each: bool) -> bool:
        """Begin a pass over the data; return whether any worker `keeps_each`.

        The steps are compiled alike on all workers, or they would wait for different
        sums.

        Args:
            at: How many steps were made.
            hooks: How many callbacks are compiled with the step.
            keeps_each: Whether this worker needs the logs of each step.
        """
        self.size, kept = self._workers.agree(
            "pass", at, hooks, self._wanted(at, 0), flags=int(keeps_each)
        )
        return bool(kept)

    def chunks(
        self,
        chunks: Iterator[Chunk],
        at: Callable[[], int],
        flags: Callable[[], int],
        ends: int,
    ) -> Iterator[Chunk]:
        """Yield the chunks, until the data ends or a worker ends the pass.

        Args:
            chunks: Chunks of at most `size` batches, the same for all workers.
            at: Returns how many steps were made in this pass.
            flags: Returns what this worker wants, a bit for each.
            ends: Those of them that end the pass before the next step.
        """
        while True:
            chunk = next(chunks, None)
            done, has = at(), 0 if chunk is None else len(chunk)
            self.size, self.flags = self._workers.agree(
                self._mode,
                done,
                has,
                self._wanted(done, has),
                flags=flags(),
                why=lambda: _error_in(chunks),
            )
            if chunk is None or self.flags & ends:
                return
            yield chunk


def _error_in(chunks: Iterator[Chunk]) -> str:
    """Return the error that ended the batches before those of other workers."""
    try:
        next(chunks, None)
    # Whatever it is, it is reported.
    except Exception as error:
        return described_error(error)
    return ""

"""What the processes of a training with several workers agree on."""

import contextlib
import functools
import operator
import random
import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

Doing = Literal[
    "seed", "pass", "train", "test", "predict", "epoch", "read", "write", "leave"
]
"""What workers agree on: a seed, how a pass over data begins, steps, an epoch's end.

Also which checkpoint they have read, whether to write one, and that they end.
"""

_DOINGS: tuple[Doing, ...] = Doing.__args__  # type: ignore[attr-defined]
# Seconds that a worker which has failed waits for the others to take notice.
_PATIENCE = 10.0
# Numbers that are exchanged, and bytes of a message.
_ROW, _MESSAGE = 7, 2000


class WorkerError(RuntimeError):
    """Another of several workers has failed, or they do not do the same.

    Raised by `Trainer` and `Loop` under `tf.distribute.MultiWorkerMirroredStrategy`,
    with the reason of each worker that has one. The error that a worker itself raises
    is raised there as it is.

    Args:
        message: What happened.

    Example:

    >>> from keras_ext.training import WorkerError
    >>> try:
    ...     raise WorkerError("Worker 1 has raised OSError: the disk is full")
    ... except RuntimeError as error:
    ...     print(error)
    Worker 1 has raised OSError: the disk is full
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)


class Agreement(NamedTuple):
    """What workers have agreed on.

    Args:
        steps: The smallest number of steps that one of them wants.
        flags: The flags that one of them has set.
    """

    steps: int
    flags: int


class Signals(Protocol):
    """Records signals for all workers, as soon as they have agreed.

    Attributes:
        pending: The number of a signal that only this worker knows of, or 0.
    """

    pending: int

    def receive(self, number: int) -> None:
        """Record the signal of any worker."""


class Workers:
    """The workers of a `MultiWorkerMirroredStrategy`, as one of them sees them.

    They make the same steps, and each step waits for all of them: a worker that made
    one step more would wait forever. So before each call they agree on how many steps
    it makes, and on whether one of them has stopped or failed.

    Args:
        strategy: The strategy, of at least two workers.

    Attributes:
        index: The number of this worker.
        count: How many there are.
        is_chief: Whether this is the first, which writes files.
        signals: Is notified of a signal in all workers at the same point of the
            program; `None` if each worker obeys its own.
    """

    def __init__(self, strategy: tf.distribute.MultiWorkerMirroredStrategy) -> None:
        resolver = strategy.cluster_resolver
        tasks = tasks_of(resolver.cluster_spec())
        self.count = len(tasks)
        self.index = tasks.index((resolver.task_type, resolver.task_id))
        self.is_chief = self.index == 0
        self._replicas = strategy.num_replicas_in_sync // self.count
        self.signals: Signals | None = None
        # Whether the others know that this one ends.
        self._is_leaving = False

        def total(value: tf.Tensor) -> tf.Tensor:
            return strategy.reduce("SUM", strategy.run(tf.identity, (value,)), None)

        # Traced here, at the same point of the program in all workers: TensorFlow
        # numbers the sums as they are traced, and a worker that fails is elsewhere.
        self._total = tf.function(total, autograph=False)
        self._totals: dict[int, Any] = {}
        for length in (_ROW, _MESSAGE):
            self._traced(length)

    def agree(
        self,
        doing: Doing,
        at: int,
        has: int,
        wanted: int = 0,
        *,
        flags: int = 0,
        why: Callable[[], str] = str,
    ) -> Agreement:
        """Exchange what is next with the other workers.

        Args:
            doing: What this worker does.
            at: How many steps of that it has made in this pass; for `"epoch"`, the
                number of the epoch.
            has: For how many steps it has batches, 0 at the end of the data; for
                `"pass"`, how many callbacks are compiled with the step.
            wanted: How many steps it wants to make in the call after that.
            flags: What else it wants, a bit for each.
            why: Called if other workers have other batches; returns the reason, if this
                worker knows it.

        Raises:
            WorkerError: If a worker has failed, or they do not all do and have the
                same.
        """
        rows = self._exchange(doing, at, has, wanted, flags, why)
        steps = min(row[3] for row in rows)
        return Agreement(steps, functools.reduce(operator.or_, (r[4] for r in rows)))

    def agree_on_seed(self, seed: int | None) -> int:
        """Return the seed that all workers use: theirs, or one that the first draws.

        Raises:
            WorkerError: If they have different seeds.
        """
        given = -1 if seed is None else seed
        return self._exchange("seed", given, 0, drawn_unless(seed), 0, str)[0][3]

    def gather(self, data: bytes) -> list[bytes]:
        """Return the data of each worker; all have the same length."""
        # Numbers of four bytes each, so that the sum over several replicas fits.
        padded = data.ljust(-(-len(data) // 4) * 4, b"\0")
        rows = self._gather(np.frombuffer(padded, "uint32").tolist())
        return [np.asarray(row, "uint32").tobytes()[: len(data)] for row in rows]

    def leave(self) -> None:
        """End at the same point as the other workers, which need no reason for it."""
        self.agree("leave", 0, 0)
        self._is_leaving = True

    def tell(self, error: BaseException) -> None:
        """Have the other workers raise `WorkerError`, with this as the reason.

        They notice when they next agree on something; one that does not within some
        seconds, since it waits in the middle of a step, is left to TensorFlow, which
        ends it some seconds after this process has ended.
        """
        if self._is_leaving:
            return  # all of them have raised
        self._is_leaving = True
        text = described_error(error)
        # Not to be waited for if the interpreter ends.
        thread = threading.Thread(target=self._tell, args=(text,), daemon=True)
        thread.start()
        thread.join(_PATIENCE)

    def _tell(self, text: str) -> None:
        # The others may have ended already.
        with contextlib.suppress(tf.errors.OpError):
            self._gather([0, 0, 0, 0, 0, 1, 0])
            self._tell_and_hear(text)

    def _exchange(
        self,
        doing: Doing,
        at: int,
        has: int,
        wanted: int,
        flags: int,
        why: Callable[[], str],
    ) -> list[list[int]]:
        """Return what each worker has passed, unless one has failed or differs."""
        signal = 0 if self.signals is None else self.signals.pending
        mine = [_DOINGS.index(doing), at, has, wanted, flags, 0, signal]
        rows = self._gather(mine)
        if any(row[5] for row in rows):
            self._is_leaving = True
            raise WorkerError(self._reasons(""))
        if len({tuple(row[:3]) for row in rows}) > 1:
            self._is_leaving = True
            raise WorkerError(
                self._reasons(why())
                or "All workers must be given the same data, seed and arguments. "
                f"Received: {'; '.join(map(_described, range(self.count), rows))}."
            )
        # After an error, another training may have begun.
        self._is_leaving = False
        if self.signals is not None and any(row[6] for row in rows):
            self.signals.receive(max(row[6] for row in rows))
        return rows

    def _reasons(self, mine: str) -> str:
        """Return the errors of all workers that have one."""
        reasons = (
            f"Worker {i} has raised {text}"
            for i, text in enumerate(self._tell_and_hear(mine))
            if text
        )
        return ". ".join(reasons)

    def _tell_and_hear(self, mine: str) -> list[str]:
        """Return the text that each worker has passed."""
        rows = self._gather(_encoded(mine))
        # A sum is complete in one worker before it is in another. One that ended now
        # would take from the others what they have nearly received, so all wait until
        # all have it; whatever happens to this sum, nothing is lost.
        with contextlib.suppress(tf.errors.OpError):
            self._gather([0] * _ROW)
        return [_decoded(row) for row in rows]

    def _gather(self, mine: Sequence[int]) -> list[list[int]]:
        """Return what each worker has passed."""
        table = np.zeros((self.count, len(mine)), "int64")
        table[self.index] = mine
        total = self._traced(len(mine))(tf.constant(table)).numpy()
        return (total // self._replicas).tolist()

    def _traced(self, length: int) -> Any:
        """Return a function that sums up tables with rows of this length.

        It must be traced at the same point of the program in all workers: TensorFlow
        numbers the sums as they are traced. So what a worker that fails will need,
        which is elsewhere in the program, is traced in the beginning.
        """
        if length not in self._totals:
            spec = tf.TensorSpec((self.count, length), tf.int64)
            self._totals[length] = self._total.get_concrete_function(spec)
        return self._totals[length]


def tasks_of(cluster: Any) -> list[tuple[str, int]]:
    """Return the type and number of every worker, the chief first."""
    jobs = [job for job in ("chief", "worker") if job in cluster.jobs]
    return [(job, task) for job in jobs for task in cluster.task_indices(job)]


def _described(index: int, row: list[int]) -> str:
    doing, at, has = _DOINGS[row[0]], *row[1:3]
    if doing == "seed":
        return f"worker {index} has {'no seed' if at < 0 else f'the seed {at}'}"
    if doing == "epoch":
        return f"worker {index} is at the end of epoch {at}"
    if doing == "pass":
        return f"worker {index} begins at step {at}, with {has} callbacks at every step"
    batches = f"the next {has} batches" if has else "no more batches"
    if doing == "read":
        return f"worker {index} " + (
            f"has read checkpoint {at} of step {has}" if at else "has read none"
        )
    if doing in ("write", "leave"):
        return f"worker {index} is to {doing} after {at} steps"
    kind = {"train": "training", "test": "evaluation", "predict": "prediction"}[doing]
    return f"worker {index} has {batches} after {at} steps of {kind}"


def described_error(error: BaseException) -> str:
    """Return an error as a traceback ends with it."""
    return f"{type(error).__name__}: {error}"


def _encoded(text: str) -> list[int]:
    return list(text.encode()[:_MESSAGE].ljust(_MESSAGE, b"\0"))


def _decoded(row: list[int]) -> str:
    return bytes(row).rstrip(b"\0").decode(errors="replace")


def drawn_unless(seed: int | None) -> int:
    """Return `seed`, or another one if it is `None`."""
    return random.randrange(2**31) if seed is None else seed

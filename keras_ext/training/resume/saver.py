"""Saves a run while it runs, and ends it if a signal or callback requests that."""

import signal
import warnings
from collections.abc import Sequence, Set
from typing import Any

import tensorflow as tf

from keras_ext.callbacks.run_request import RunRequest
from keras_ext.training.base.interfaces import EpochView, RunView
from keras_ext.training.base.stack import level_of_user
from keras_ext.training.resume import callback_state, snapshot
from keras_ext.training.resume.checkpoint import Checkpoint
from keras_ext.training.resume.signals import Preempted, SignalListener
from keras_ext.training.resume.snapshot import Snapshot
from keras_ext.training.resume.store import CheckpointStore
from keras_ext.training.resume.unsaved_state import UnsavedState


class Saver:
    """Saves a run with the Checkpoint among its callbacks; does nothing without one.

    Args:
        run: The run.
        checkpoint: The Checkpoint, or `None`.

    Of several workers, the chief writes, and all save and end at the same steps.

    Attributes:
        interrupted: Whether a callback has requested to end here and continue later.
    """

    def __init__(self, run: RunView, checkpoint: Checkpoint | None) -> None:
        self.interrupted = False
        self._run = run
        self._checkpoint = checkpoint
        # Listed before the Restorer reads one: a checkpoint that is added later belongs
        # to a run that this one does not continue.
        self._known = set(checkpoint.files.paths() if checkpoint else ())
        # With several workers, TensorFlow takes SIGTERM, and does nothing.
        taken = () if run.workers is None else (signal.SIGTERM,)
        self._writes = run.workers is None or run.workers.is_chief
        self._signals = (
            checkpoint.signal_listener if checkpoint else SignalListener(taken)
        )
        self._unsaved = UnsavedState(())
        self._iterators_can_be_saved = True
        # The state of the run before the current evaluation.
        self._before_evaluation: Snapshot | None = None
        self._last_position: Any = None
        self._has_checked_operations = False
        if checkpoint is not None:
            callback_state.check_methods(run.callbacks)

    def begin(self) -> None:
        """Take over from the Checkpoint, and begin to listen for signals.

        Raises:
            OSError: If the folder cannot be written to, or another run uses it.
        """
        workers = self._run.workers
        if self._checkpoint is None:
            # Each worker ends, and takes the others with it.
            self._signals.start()
            return
        self._checkpoint.drive(writes=self._writes)
        if self._writes:
            # After `drive`, which locks the folder: from now on, nothing is added.
            _check_nothing_new(self._checkpoint.files, self._known)
        self._signals.start(waits=workers is not None)
        if workers is not None:
            workers.signals = self._signals

    @property
    def saves(self) -> bool:
        """Whether the run is saved at all."""
        return self._checkpoint is not None

    def has_begun(self) -> None:
        """Record the state of callbacks when training begins."""
        if self._checkpoint is not None:
            self._unsaved = UnsavedState(self._run.callbacks)

    def close(self) -> None:
        """Stop listening, and wait until everything is written.

        Raises:
            OSError: If that fails.
        """
        self._signals.stop()
        if self._run.workers is not None:
            self._run.workers.signals = None
        if self._checkpoint is not None:
            self._checkpoint.release()

    def after_chunk(self, epoch: EpochView) -> None:
        """Save the run within an epoch, and end it, if either is due."""
        self._end_if_terminated()
        # A run that is to be rolled back must not become its own last checkpoint.
        if self._checkpoint is None or self._run.is_requested(RunRequest.ROLL_BACK):
            return
        # Not earlier: the operations are known only once the first step was traced.
        self._warn_of_unrepeatable_operations()
        self._save_if(self._is_due(at_epoch_end=False), epoch.index, epoch)

    def is_time_to_save(self) -> bool:
        """Whether the time has passed after which the Checkpoint saves."""
        return self._checkpoint is not None and self._checkpoint.is_time()

    def after_epoch(self, index: int) -> None:
        """Save the run before epoch `index`, and end it, if either is due."""
        # Other workers would next reset metrics, which waits for this one: so of
        # several, one ends after a call of the next epoch, or when all have ended.
        if self._run.workers is None:
            self._end_if_terminated()
        if self._checkpoint is not None:
            self._save_if(self._is_due(at_epoch_end=True), index, None)

    def finish(self, index: int) -> None:
        """Save the run that has ended before epoch `index`, unless already done."""
        self._end_if_terminated()
        if self._checkpoint is None or self._run.is_requested(RunRequest.DISCARD):
            return
        if self._last_position != (index, None):
            self._save(index, None)
        self._checkpoint.files.wait()
        self._leave_if_asked()

    def begin_evaluation(self, epoch: EpochView) -> None:
        """Record the state of the run, to be saved if a signal ends the evaluation."""
        if self._checkpoint is None:
            return
        self._signals.in_evaluation = True
        if not self._run.is_requested(RunRequest.DISCARD):
            taken = self._take(epoch.index, epoch)
            # The current values: the evaluation changes metrics.
            values = list(map(tf.convert_to_tensor, snapshot.values_of(taken)))
            self._before_evaluation = Snapshot(values, *taken[1:])

    def end_evaluation(self) -> None:
        """Discard that state."""
        self._before_evaluation, self._signals.in_evaluation = None, False

    def leave_evaluation(self) -> None:
        """Save the run in its state before the evaluation, and end it."""
        if self._before_evaluation is not None:
            self._write(self._before_evaluation)
        self._leave_if_asked()

    def _is_due(self, *, at_epoch_end: bool) -> bool:
        """Whether to save now; of several workers, all do."""
        run, checkpoint = self._run, self._checkpoint
        if checkpoint is None:
            return False
        if run.workers is not None and checkpoint.is_timed:
            return run.is_save_requested
        return checkpoint.is_due(run.steps_made, at_epoch_end=at_epoch_end)

    def _save_if(self, due: bool, index: int, epoch: EpochView | None) -> None:
        run = self._run
        if due or run.is_requested(RunRequest.INTERRUPT) or self._signals.received:
            # What another worker has requested since may forbid it.
            run.agree_to_save()
        # A run that ends here anyway is not interrupted: nothing is left to continue.
        has_ended = epoch is None and (index >= run.epochs or run.stop_training)
        self.interrupted = run.is_requested(RunRequest.INTERRUPT) and not has_ended
        forbidden = RunRequest.DISCARD, RunRequest.ROLL_BACK
        may_save = not any(map(run.is_requested, forbidden))
        if may_save and (due or self.interrupted or self._signals.received):
            self._save(index, epoch)
        self._leave_if_asked()

    def _leave_if_asked(self) -> None:
        received = self._signals.received
        if received is None or self._checkpoint is None:
            return
        files = self._checkpoint.files
        # The process may end next, and the message names what is on disk.
        files.wait()
        if self._run.workers is not None:
            # The others wait for the chief's files.
            self._run.workers.leave()
        paths = files.paths()
        saved = f"the run is saved as {paths[-1]!r}" if paths else "nothing was saved"
        message = f"{received.name}: {saved}"
        if self._run.verbose:
            print(message)
        # After Ctrl-C, programs expect Python's own exception.
        raise {"SIGINT": KeyboardInterrupt}.get(received.name, Preempted)(message)

    def _end_if_terminated(self) -> None:
        """End a run that is not saved, as SIGTERM does by default."""
        if self._checkpoint is None and self._signals.received is not None:
            raise SystemExit(128 + self._signals.received)

    def _take(self, index: int, epoch: EpochView | None) -> Snapshot:
        with_iterators = self._writes and self._iterators_can_be_saved
        return snapshot.take(self._run, index, epoch, with_iterators=with_iterators)

    def _save(self, index: int, epoch: EpochView | None) -> None:
        taken = self._take(index, epoch)
        if epoch is not None:
            # Between epochs, metrics are about to be reset.
            _check_metrics(epoch, taken.variables)
        self._unsaved.warn(taken.variables)
        self._write(Snapshot(snapshot.values_of(taken), *taken[1:]))
        self._last_position = index, epoch and epoch.step

    def _write(self, taken: Snapshot) -> None:
        """Write what was collected, without the iterators if they cannot be saved."""
        if self._checkpoint is None:
            return
        self._checkpoint.saved()
        if not self._writes:
            return
        files = self._checkpoint.files
        try:
            files.write(*taken)
        except tf.errors.FailedPreconditionError as error:
            # The pipeline has its own state, such as a random `map`. That will not
            # change, so later checkpoints do not try again.
            self._iterators_can_be_saved = False
            warnings.warn(
                "The position in the dataset cannot be saved: "
                f"{str(error).strip().splitlines()[0]} When the run is continued, the "
                "batches of the epoch so far are read again and dropped, which takes "
                "as long as reading takes, and is exact only if they come in the same "
                "order. Draw random numbers with a seed per element "
                "(`tf.random.stateless_*`), or in layers of the model.",
                stacklevel=level_of_user(),
            )
            files.write(*snapshot.without_iterators(taken))

    def _warn_of_unrepeatable_operations(self) -> None:
        program = self._run.program
        if self._has_checked_operations or program is None:
            return
        self._has_checked_operations = True
        lost = program.unrepeatable_operations()
        if lost:
            warnings.warn(
                "The training step draws random numbers whose state cannot be saved: "
                f"{', '.join(lost)}. A continued run will draw others. Use layers with "
                "a `seed`, `keras.random` with a `keras.random.SeedGenerator`, or "
                "`tf.random.Generator`.",
                stacklevel=level_of_user(),
            )


def _check_metrics(epoch: EpochView, variables: Sequence[Any]) -> None:
    known = {id(variable) for variable in variables}
    for metric in epoch.logged_metrics:
        if any(id(variable) not in known for variable in metric.variables):
            raise ValueError(
                f"The metric {metric.name!r} is logged, but belongs neither to the "
                "model nor to `state`, so its value cannot be saved within an epoch. "
                f"Pass `Loop(..., state={{{metric.name!r}: metric}})`."
            )


def _check_nothing_new(files: CheckpointStore, known: Set[str]) -> None:
    new = [path for path in files.paths() if path not in known]
    if new:
        raise FileExistsError(
            f"Another run has saved {new[-1]!r} since this one read the folder. Run "
            "the program again to continue from there, or choose another folder."
        )

"""A run that is saved while it goes on, and continued from where it was saved."""

import contextlib
import functools
import warnings
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from keras_ext.training.base import host_random
from keras_ext.training.data.chunks import Chunk
from keras_ext.training.data.source import Source
from keras_ext.training.resume import callback_state
from keras_ext.training.resume.arguments import (
    Resume,
    check_logs_are_kept,
    check_others,
    find_checkpoint,
    read_checkpoint,
)
from keras_ext.training.resume.contents import Contents, Saved
from keras_ext.training.resume.schema import (
    check_keys,
    check_run,
    descriptions_in,
    unusable,
)
from keras_ext.training.resume.signals import Preempted, SignalWatch
from keras_ext.training.resume.snapshot import RunState
from keras_ext.training.resume.store import CheckpointFiles
from keras_ext.training.resume.unsaved_state import UnsavedState
from keras_ext.training.resume.variables import Restoration
from keras_ext.training.step.replicas import has_several_workers
from keras_ext.training.step.xla_policy import UNREPEATABLE

if TYPE_CHECKING:
    from keras_ext.training.loop.epoch import Epoch
    from keras_ext.training.loop.loop import Loop


class RunKeeper:
    """Saves the run of a `Loop`, and restores one.

    Args:
        loop: The loop.
        resume: The folder to continue from, or whether to continue at all.
        others: Further objects whose state belongs to the run, by name.

    Attributes:
        saved: What is to be restored.
        interrupted: Whether a callback has asked to end here and go on another time.
    """

    def __init__(self, loop: "Loop", resume: Resume, others: Mapping[str, Any]) -> None:
        self._loop = loop
        self._run = RunState(loop, check_others(others))
        self._checkpoint = find_checkpoint(loop.callbacks.callbacks)
        self._known = set(self._checkpoint.files.paths() if self._checkpoint else ())
        self.saved = read_checkpoint(resume, self._checkpoint, self._compare)
        self.interrupted = False
        # What to do if what was restored turns out to be that of another run.
        self._undo = contextlib.ExitStack()
        self._restoration: Restoration | None = None
        self._validation: Source | None = None
        self._noted: Any = None
        self._saved_position: Any = None
        self._checked_operations = False
        self._signals = SignalWatch(())
        self._unsaved = UnsavedState(())
        if self.saved is not None:
            check_logs_are_kept(loop.callbacks.callbacks)
        if self._checkpoint is not None:
            _check_single_worker(loop.model)
            self._signals = self._checkpoint.watch

    def begin(self) -> None:
        """Take over from the Checkpoint, and begin to listen to signals.

        Raises:
            OSError: If the folder can't be written to, or another run has it.
        """
        model = self._loop.model
        if hasattr(model, "watch_updates"):
            # What a training that could not begin may have left behind.
            model.watch_updates(go_on=None)
        if self._checkpoint is not None:
            self._checkpoint.drive()
            _check_nothing_new(self._checkpoint.files, self._known)
        self._signals.start()

    def has_begun(self) -> None:
        """Look at what callbacks remember when training begins."""
        if self._checkpoint is not None:
            self._unsaved = UnsavedState(self._loop.callbacks.callbacks)

    def close(self) -> None:
        """Stop listening, and wait until all is written.

        Raises:
            OSError: If it can't be.
        """
        self._signals.stop()
        if self._checkpoint is not None:
            self._checkpoint.release()

    def restore(self, *, in_epoch: bool) -> Any:
        """Restore what was saved within an epoch, or between two.

        All but the variables that do not exist before the first step; for these, see
        `restore_rest`.

        Args:
            in_epoch: Which of both to restore, if it is that what was saved.

        Returns:
            What was saved of the epoch, or `None`.
        """
        saved = self.saved
        if saved is None or (saved.state["epoch"] is not None) != in_epoch:
            return None
        self.saved, state, loop = None, saved.state, self._loop
        callbacks, others = loop.callbacks.callbacks, self._others_of(state)
        try:
            callback_state.check_states(callbacks, state["callbacks"])
        except ValueError as error:
            raise unusable(saved.path, error) from error
        self._note_what_is_changed([*callbacks, *others.values()])
        with self._undone_if_it_fails(saved.path):
            loop._steps_made = state["loop"]["steps_made"]
            loop.stop_training = bool(state["loop"]["stopped"])
            self._restore_variables(saved)
            callback_state.set_states(callbacks, state["callbacks"])
            for name, other in others.items():
                callback_state.give(other, state["others"][name], repr(name))
            self._restore_compilation(state["compiled"])
            self._run.saved_sources = {
                name: (saved, *rest) for name, *rest in state["sources"]
            }
            host_random.set_state(state["random"])
        if self._checkpoint is not None and state["sources"]:
            # Iterators of datasets are read from it later.
            self._checkpoint.files.needed = saved.path
        if self._validation is not None:
            self.restore_source("validation", self._validation)
        if loop.verbose:
            step = f", step {state['epoch']['step']}" if in_epoch else ""
            print(f"Continuing {saved.path}: epoch {state['loop']['epoch']}{step}")
        return state["epoch"]

    def _others_of(self, state: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: other
            for name, other in self._run.others.items()
            if name in state["others"]
        }

    def _restore_compilation(self, state: Any) -> None:
        if not hasattr(self._loop.model, "_compiled"):
            return
        if state is None:
            raise ValueError(
                "it was saved in a Loop around a model that is no Trainer, and the "
                "model is a Trainer now"
            )
        self._loop.model._compiled.set_state(state)

    def _note_what_is_changed(self, objects: Sequence[Any]) -> None:
        """Have all that `restore` changes changed back by `self._undo`."""
        loop, undo = self._loop, self._undo
        undo.callback(host_random.set_state, host_random.get_state())
        for one in objects:
            undo.callback(callback_state.resetting(one))
        compiled = getattr(loop.model, "_compiled", None)
        if compiled is not None:
            undo.callback(compiled.set_state, compiled.get_state())
        undo.callback(setattr, loop, "_steps_made", loop._steps_made)
        undo.callback(setattr, loop, "stop_training", loop.stop_training)

    @contextlib.contextmanager
    def _undone_if_it_fails(self, path: str | None = None) -> Iterator[None]:
        """Change everything back if the block raises something.

        Args:
            path: The checkpoint, if what is raised can only come from what is in it;
                that is a `ValueError` with the path then.
        """
        try:
            yield
        except BaseException as error:
            self._undo.close()
            if path is None or path in str(error) or not _is_error(error):
                raise
            raise unusable(path, error) from error
        if self._restoration is None:
            # From the first step on, it is this run.
            self._undo.pop_all()

    def _compare(self, contents: Contents) -> None:
        """Raise `ValueError` if a checkpoint has other variables than this run."""
        descriptions = descriptions_in(contents)
        values = [None] * len(descriptions)
        restoration = Restoration(contents.path, descriptions, values)
        if contents.raw("epoch") is None:
            restoration.leave((), self._new_in_an_epoch())
        restoration.compare(self._run.variables())

    def _new_in_an_epoch(self) -> str | None:
        """Return the owner of the variables that every epoch begins without."""
        return "metrics" if self._loop.model.compiled else None

    def expect(self, source: Source, validation: Source | None) -> None:
        """Take in what data `fit` will train on and evaluate with.

        Raises:
            ValueError: If it is other data than that of the saved run.
        """
        self._validation = validation
        if self.saved is None:
            return
        given = {0: source, "validation": validation}
        for name, description, state, _ in self.saved.state["sources"]:
            now = given.get(name)
            if now is not None:
                _check_data(self.saved, now, description, state)
        # With all variables there, they can be compared before anything is changed.
        with host_random.untouched():
            self._prepare(source.peek())

    def restore_rest(self, chunk: Chunk | None) -> None:
        """Restore the variables that are made for the first step, before it is made.

        Args:
            chunk: Batches like those to come; `None` if there are none.

        Raises:
            ValueError: If they do not fit those of the saved run, or do not exist.
        """
        restoration, self._restoration = self._restoration, None
        if restoration is None:
            return
        with self._undone_if_it_fails():
            # What is drawn for it was drawn in the saved run before.
            with host_random.untouched():
                self._prepare(chunk)
            restoration.finish(
                self._run.variables(), besides="metrics" if not chunk else None
            )

    def _prepare(self, chunk: Chunk | None) -> None:
        """Have a Trainer make the variables that a step on such batches needs."""
        model = self._loop.model
        if chunk is not None and hasattr(model, "_compiled") and model.compiled:
            model._compiled.train.prepare(chunk)

    def restore_source(self, name: Any, source: Source) -> None:
        """Have the data go on as it would have, in the first epoch that is continued.

        Args:
            name: The number of the pass over data within the epoch, or `"validation"`.
            source: Where the batches come from.

        Raises:
            ValueError: If it is other data than that of the saved run.
        """
        self._run.sources[name] = source
        if name not in self._run.saved_sources:
            return
        saved, description, state, iterators = self._run.saved_sources.pop(name)
        restores = iterators and [
            functools.partial(saved.restore_iterator, number) for number in iterators
        ]
        with self._undone_if_it_fails(saved.path):
            _check_data(saved, source, description, state)
            source.set_state(state, restores)
        if self._checkpoint is not None and not self._run.saved_sources:
            self._checkpoint.files.needed = None

    def after_chunk(self, epoch: "Epoch") -> None:
        """Save the run within an epoch, if it is time to, and leave if it is."""
        if self._checkpoint is None or self.asked("roll_back"):
            return
        self._warn_of_what_is_lost()
        due = self._checkpoint.is_due(self._loop._steps_made, at_epoch_end=False)
        self._save_if(due, epoch.index, epoch)

    def after_epoch(self, index: int) -> None:
        """Save the run before epoch `index`, if it is time to, and leave if it is."""
        if self._checkpoint is not None:
            due = self._checkpoint.is_due(self._loop._steps_made, at_epoch_end=True)
            self._save_if(due, index, None)

    def finish(self, index: int) -> None:
        """Save the run that has ended, unless that was done, or restore it.

        Raises:
            ValueError: If one was restored, and the model's variables are missing.
        """
        if self._restoration is not None:
            self.restore_rest(None)
        elif self._checkpoint is not None and not self.asked("discard"):
            if self._saved_position != (index, None):
                self._save(index, None)
            self._checkpoint.files.wait()
            self._leave_if_asked()

    def roll_back(self) -> int:
        """Go back to the last checkpoint, and return the epoch to go on with.

        The data comes in another order than before.

        Raises:
            FloatingPointError: If there is none yet.
        """
        files = self._files()
        files.wait()
        self.saved = files.read(self._compare)
        if self.saved is None:
            raise FloatingPointError(
                f"There is no checkpoint in {files.directory!r} yet to go back to. "
                "Save more often, `Checkpoint(..., save_freq=100)`, or lower the "
                "learning rate."
            )
        check_run(self.saved)
        index = int(self.saved.state["loop"]["epoch"])
        self.saved.state["sources"] = []
        loop = self._loop
        loop.seed += 1
        for source in self._run.sources.values():
            source.reseed(loop.seed)
        for callback in loop.callbacks.callbacks:
            if getattr(callback, "request", None) == "roll_back":
                callback.request = None
        self.restore(in_epoch=False)
        return index

    def before_evaluation(self, epoch: "Epoch") -> None:
        """Note the state of the run, to be saved if a signal ends the evaluation."""
        if self._checkpoint is None:
            return
        self._signals.in_evaluation = True
        if not self.asked("discard"):
            variables, state, iterators = self._run.collect(epoch.index, epoch)
            values = [tf.convert_to_tensor(variable) for variable in variables]
            self._noted = values, state, iterators

    def after_evaluation(self) -> None:
        """Forget that state."""
        self._noted, self._signals.in_evaluation = None, False

    def leave_evaluation(self) -> None:
        """Save the run as it was before the evaluation, and leave."""
        if self._noted is not None:
            self._write(*self._noted)
        self._leave_if_asked()

    def _save_if(self, due: bool, index: int, epoch: "Epoch | None") -> None:
        loop = self._loop
        has_ended = epoch is None and (index >= loop.epochs or loop.stop_training)
        self.interrupted = self.asked("interrupt") and not has_ended
        received = self._signals.received
        discard = self.asked("discard")
        if not discard and (due or self.interrupted or received):
            self._save(index, epoch)
        self._leave_if_asked()

    def _leave_if_asked(self) -> None:
        files, received = self._files(), self._signals.received
        if received is None:
            return
        files.wait()
        paths = files.paths()
        saved = f"the run is saved as {paths[-1]!r}" if paths else "nothing was saved"
        message = f"{received.name}: {saved}"
        if self._loop.verbose:
            print(message)
        raise {"SIGINT": KeyboardInterrupt}.get(received.name, Preempted)(message)

    def _save(self, index: int, epoch: "Epoch | None") -> None:
        variables, state, iterators = self._run.collect(index, epoch)
        if epoch is not None:
            _check_metrics(epoch, variables)
        self._unsaved.warn(variables)
        self._write(variables, state, iterators)
        self._saved_position = index, epoch and epoch.step

    def _write(self, variables: Any, state: Any, iterators: Any) -> None:
        """Write what was collected, without the iterators if they can't be saved."""
        files = self._files()
        try:
            files.write(variables, state, iterators)
        except tf.errors.FailedPreconditionError as error:
            self._run.iterators_can_be_saved = False
            warnings.warn(
                "The position in the dataset can't be saved: "
                f"{str(error).strip().splitlines()[0]} When the run is continued, the "
                "batches of the epoch so far are read again and dropped, which takes "
                "as long as reading takes, and is exact only if they come in the same "
                "order. Draw random numbers with a seed per element "
                "(`tf.random.stateless_*`), or in layers of the model.",
                stacklevel=2,
            )
            state["sources"] = [[*item[:3], None] for item in state["sources"]]
            files.write(variables, state)
        if self._checkpoint is not None:
            self._checkpoint.saved()

    def _restore_variables(self, saved: Saved) -> None:
        optimizer, model = self._loop.optimizer, self._loop.model
        steps = getattr(model, "_compiled", None)
        known = steps is None or steps.update_all_at_once()
        if known and model.built and optimizer and not optimizer.built:
            optimizer.build(model.trainable_variables)
        self._restoration = Restoration(
            saved.path, saved.state["variables"], saved.variables
        )
        self._undo.callback(self._restoration.undo)
        variables, reset = self._run.variables(), saved.state["reset"]
        if saved.state["epoch"] is None:
            # An epoch begins with new metrics.
            self._restoration.leave(reset, self._new_in_an_epoch())
        elif len(variables) == len(saved.state["variables"]):
            ids = {id(variables[number].variable) for number in reset}
            self._loop._reset_next_epoch(
                one
                for one in keras.tree.flatten(list(self._run.others.values()))
                if isinstance(one, keras.Metric)
                and any(id(variable) in ids for variable in one.variables)
            )
        self._restoration.begin(variables)

    def _files(self) -> CheckpointFiles:
        if self._checkpoint is None:
            raise RuntimeError(
                "A callback asks to roll back, which needs a "
                "keras_ext.callbacks.Checkpoint beside it."
            )
        return self._checkpoint.files

    def asked(self, request: str) -> bool:
        """Whether a callback asks for something, see "fault tolerance" in the docs."""
        callbacks = self._loop.callbacks.callbacks
        return any(getattr(one, "request", None) == request for one in callbacks)

    def _warn_of_what_is_lost(self) -> None:
        compiled = getattr(self._loop.model, "_compiled", None)
        if self._checked_operations or compiled is None:
            return
        self._checked_operations = True
        lost = sorted(compiled.train.operations() & UNREPEATABLE)
        if lost:
            warnings.warn(
                "The training step draws random numbers whose state can't be saved: "
                f"{', '.join(lost)}. A continued run will draw others. Use layers with "
                "a `seed`, `keras.random` with a `keras.random.SeedGenerator`, or "
                "`tf.random.Generator`.",
                stacklevel=2,
            )


def _check_metrics(epoch: "Epoch", variables: Sequence[Any]) -> None:
    known = {id(variable) for variable in variables}
    for metric in epoch.logged_metrics:
        if any(id(variable) not in known for variable in metric.variables):
            raise ValueError(
                f"The metric {metric.name!r} is logged, and belongs neither to the "
                "model nor to `state`, so its value can't be saved within an epoch. "
                f"Pass `Loop(..., state={{{metric.name!r}: metric}})`."
            )


def _check_data(saved: Saved, source: Source, description: Any, state: Any) -> None:
    if source.description() != description:
        raise ValueError(
            f"The checkpoint {saved.path!r} is that of another run: its data had "
            f"{_listed(description)}. Received: {_listed(source.description())}. Pass "
            "the same data, cut in the same way, or choose another folder."
        )
    try:
        check_keys(state, source.state(iterators=False)[0])
    except ValueError as error:
        raise unusable(saved.path, error) from None


def _check_nothing_new(files: CheckpointFiles, known: Set[str]) -> None:
    new = [path for path in files.paths() if path not in known]
    if new:
        raise FileExistsError(
            f"Another run has saved {new[-1]!r} since this one has looked at the "
            "folder. Run the program again to continue from there, or choose another "
            "folder."
        )


def _is_error(error: BaseException) -> bool:
    """Whether it neither ends the process nor is a warning."""
    return isinstance(error, Exception) and not isinstance(error, Warning)


def _check_single_worker(model: keras.Model) -> None:
    if has_several_workers(getattr(model, "distribute_strategy", None)):
        raise ValueError(
            "Checkpoint saves the run of a single process. Received: a model under "
            "MultiWorkerMirroredStrategy. Save the weights on the chief with "
            "keras.callbacks.ModelCheckpoint."
        )


def _listed(description: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in description.items())

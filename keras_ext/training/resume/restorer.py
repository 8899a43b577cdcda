"""Continues a run from a checkpoint, or changes it back if that does not fit."""

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_ext.callbacks.run_request import RunRequest
from keras_ext.training.base import host_random
from keras_ext.training.base.interfaces import RunView
from keras_ext.training.data.chunks import Chunk
from keras_ext.training.data.source import Source
from keras_ext.training.resume import callback_state
from keras_ext.training.resume.arguments import (
    Resume,
    check_logs_are_kept,
    read_checkpoint,
)
from keras_ext.training.resume.checkpoint import Checkpoint
from keras_ext.training.resume.contents import Contents, Saved
from keras_ext.training.resume.schema import (
    check_keys,
    check_run,
    descriptions_in,
    unusable,
)
from keras_ext.training.resume.snapshot import replica_values, variables_of_run
from keras_ext.training.resume.store import number_of
from keras_ext.training.resume.variables import Restoration


@dataclass(frozen=True)
class SavedSource:
    """The saved state of a source of batches.

    Args:
        checkpoint: The checkpoint.
        description: Properties that must be equal.
        state: The position in the data.
        iterators: The numbers of its iterators; `None` if they could not be saved.
    """

    checkpoint: Saved
    description: Any
    state: Any
    iterators: Sequence[int] | None

    def check(self, source: Source) -> None:
        """Raise `ValueError` unless a source has such data."""
        if source.description() != self.description:
            raise ValueError(
                f"The checkpoint {self.checkpoint.path!r} is that of another run: its "
                f"data had {_listed(self.description)}. Received: "
                f"{_listed(source.description())}. Pass the same data, batched in the "
                "same way, or choose another folder."
            )
        try:
            # Only keys are compared; to return iterators, the source would have to
            # create them.
            check_keys(self.state, source.state(iterators=False)[0])
        except ValueError as error:
            raise unusable(self.checkpoint.path, error) from None

    def restore(self, source: Source) -> None:
        """Make the source continue as it would have."""
        self.check(source)
        restores = None
        if self.iterators is not None:
            restore = self.checkpoint.restore_iterator
            restores = [functools.partial(restore, number) for number in self.iterators]
        source.set_state(self.state, restores)


class Restorer:
    """Restores a saved run, step by step as its parts are created.

    Plain data and the variables that exist are restored when the epoch begins,
    variables that the first step creates before that step, and the position in the data
    when the data is requested. If something does not fit, everything is changed back.

    Args:
        run: The run.
        resume: The folder to continue from, or whether to continue at all.
        checkpoint: The Checkpoint among the callbacks, or `None`.

    Attributes:
        saved: The checkpoint to restore; `None` if there is none, or restoring has
            begun.

    Raises:
        FileExistsError: If the Checkpoint's folder holds another run.
        FileNotFoundError: If `resume` names a folder without a checkpoint.
        ValueError: If a checkpoint cannot be read, or belongs to another run.
    """

    def __init__(
        self, run: RunView, resume: Resume, checkpoint: Checkpoint | None
    ) -> None:
        self._run = run
        self._checkpoint = checkpoint
        self.saved: Saved | None = read_checkpoint(resume, checkpoint, self._compare)
        if resume is not False:
            self._agree_on(self.saved)
        # What to do if the restored state turns out to be that of another run.
        self._undo = contextlib.ExitStack()
        # The variables, as long as the first step has yet to create some.
        self._restoration: Restoration | None = None
        self._validation: Source | None = None
        if self.saved is not None:
            check_logs_are_kept(run.callbacks)

    @property
    def is_waiting(self) -> bool:
        """Whether there are variables to restore that the first step creates."""
        return self._restoration is not None

    def expect(self, source: Source, validation: Source | None) -> None:
        """Check the data that `fit` will train on and evaluate with.

        Raises:
            ValueError: If it differs from the data of the saved run.
        """
        self._validation = validation
        if self.saved is None:
            return
        given = {0: source, "validation": validation}
        for name, saved in _sources_in(self.saved).items():
            now = given.get(name)
            if now is not None:
                saved.check(now)
        # If all variables exist, they can be compared before anything is changed.
        with host_random.untouched():
            self._prepare(source.example())

    def restore(self, *, in_epoch: bool) -> Any:
        """Restore a state saved within an epoch, or between two.

        Everything except the variables that do not exist before the first step; for
        these, see `restore_rest`.

        Args:
            in_epoch: Which of the two to restore, if that was saved.

        Returns:
            The saved state of the epoch, or `None`.
        """
        saved, run = self.saved, self._run
        if saved is None or (saved.state["epoch"] is not None) != in_epoch:
            return None
        self.saved, state = None, saved.state
        # Those with variables are restored with the variables.
        others = {name: o for name, o in run.others.items() if name in state["others"]}
        try:
            # Before anything is changed.
            callback_state.check_states(run.callbacks, state["callbacks"])
        except ValueError as error:
            raise unusable(saved.path, error) from error
        self._note_what_is_changed([*run.callbacks, *others.values()])
        with self._undone_if_it_fails(saved.path):
            run.set_state(state["loop"])
            self._restore_variables(saved)
            # The chief has saved the states of callbacks that others do not have.
            is_chief = run.workers is None or run.workers.is_chief
            callback_state.set_states(
                run.callbacks, state["callbacks"], may_lack_some=not is_chief
            )
            for name, other in others.items():
                callback_state.give(other, state["others"][name], repr(name))
            self._restore_program(state["compiled"])
            run.saved_sources = _sources_in(saved)
            # Last, since user-defined methods, called above, may draw random numbers.
            host_random.set_state(state["random"])
        if self._checkpoint is not None and state["sources"]:
            # Iterators of datasets are read from it later.
            self._checkpoint.files.needed = saved.path
        # `fit` has already passed it; other sources are restored when they are
        # requested.
        if self._validation is not None:
            self.restore_source("validation", self._validation)
        if run.verbose:
            step = f", step {state['epoch']['step']}" if in_epoch else ""
            print(f"Continuing {saved.path}: epoch {state['loop']['epoch']}{step}")
            self._print_of_workers(state.get("workers", 1))
        return state["epoch"]

    def _print_of_workers(self, before: int) -> None:
        """Say so if the run was saved by another number of workers."""
        workers = self._run.workers
        now = 1 if workers is None else workers.count
        if before != now:
            print(
                f"It was saved with {before} and is continued with {now} workers: the "
                "same batches, with other roundings."
            )

    def restore_rest(self, chunk: Chunk | None) -> None:
        """Restore the variables created for the first step, before it is made.

        Args:
            chunk: Batches like those to come; `None` if there are none.

        Raises:
            ValueError: If they do not fit those of the saved run, or do not exist.
        """
        restoration, self._restoration = self._restoration, None
        if restoration is None:
            return
        with self._undone_if_it_fails():
            # Numbers drawn for this were already drawn in the saved run.
            with host_random.untouched():
                self._prepare(chunk)
            # Without a first step, metrics may have no variables yet.
            restoration.finish(
                variables_of_run(self._run), may_lack="metrics" if not chunk else None
            )

    def restore_source(self, name: Any, source: Source) -> None:
        """Make the data continue as it would have, in the first continued epoch.

        Args:
            name: The number of the pass over data within the epoch, or `"validation"`.
            source: Source of the batches.

        Raises:
            ValueError: If it differs from the data of the saved run.
        """
        run = self._run
        run.sources[name] = source
        if name not in run.saved_sources:
            return
        saved = run.saved_sources.pop(name)
        with self._undone_if_it_fails(saved.checkpoint.path):
            saved.restore(source)
        if self._checkpoint is not None and not run.saved_sources:
            # All iterators have been read from it, so it may be removed once it is old.
            self._checkpoint.files.needed = None

    def roll_back(self) -> int:
        """Return to the last checkpoint; the result is the epoch to continue with.

        The data comes in a different order than before.

        Raises:
            RuntimeError: If there is no Checkpoint.
            FloatingPointError: If it has not saved anything yet.
        """
        if self._checkpoint is None:
            raise RuntimeError(
                "A callback requests ROLL_BACK, which needs a "
                "keras_ext.callbacks.Checkpoint as well."
            )
        files, run = self._checkpoint.files, self._run
        # The latest checkpoint may not be fully written yet.
        files.wait()
        if run.workers is not None:
            # The chief has written it.
            run.workers.agree("write", run.steps_made, 0)
        self.saved = files.read(self._compare)
        self._agree_on(self.saved)
        if self.saved is None:
            raise FloatingPointError(
                f"There is no checkpoint in {files.directory!r} yet to return to. Save "
                "more often, `Checkpoint(..., save_freq=100)`, or lower the learning "
                "rate."
            )
        check_run(self.saved)
        index = int(self.saved.state["loop"]["epoch"])
        # The data is not reset: the same batches in the same order would lead to the
        # same failure.
        self.saved.state["sources"] = []
        run.seed += 1
        for source in run.sources.values():
            source.reseed(run.seed)
        run.forget_request(RunRequest.ROLL_BACK)
        # One that was saved within an epoch is restored when that epoch begins.
        self.restore(in_epoch=False)
        return index

    def _agree_on(self, saved: Saved | None) -> None:
        """Raise `WorkerError` unless all workers have read the same checkpoint."""
        if self._run.workers is not None:
            number = 0 if saved is None else number_of(saved.path)
            steps = 0 if saved is None else saved.state["loop"]["steps_made"]
            self._run.workers.agree("read", number, steps)

    def _compare(self, contents: Contents) -> None:
        """Raise `ValueError` if a checkpoint has different variables than this run."""
        descriptions = descriptions_in(contents)
        values = [None] * len(descriptions)
        restoration = Restoration(contents.path, descriptions, values)
        # Between two epochs, metrics are left unchanged, and need not exist yet.
        if contents.raw("epoch") is None:
            restoration.leave((), self._new_in_an_epoch())
        restoration.compare(variables_of_run(self._run))

    def _new_in_an_epoch(self) -> str | None:
        """Return the owner of the variables that every epoch begins without."""
        return "metrics" if self._run.model.compiled else None

    def _prepare(self, chunk: Chunk | None) -> None:
        """Let a Trainer create the variables that a step on such batches needs."""
        if chunk is not None and self._run.program is not None:
            self._run.program.prepare(chunk)

    def _restore_program(self, state: Any) -> None:
        if self._run.program is None:
            return
        if state is None:
            raise ValueError(
                "it was saved in a Loop around a model that was not a Trainer, but the "
                "model is a Trainer now"
            )
        self._run.program.set_state(state)

    def _restore_variables(self, saved: Saved) -> None:
        run, state = self._run, saved.state
        optimizer, model, program = run.optimizer, run.model, run.program
        # An optimizer creates its variables in the first step. Created now, they can be
        # compared and restored immediately; but only a default step determines for
        # which variables.
        known = program is None or program.updates_all_at_once()
        if known and model.built and optimizer and not optimizer.built:
            # A strategy has copies for its replicas only of variables created in it.
            with model.distribute_strategy.scope():
                optimizer.build(model.trainable_variables)
        restoration = Restoration(
            saved.path,
            state["variables"],
            saved.variables,
            replica_values(run),
            dict(state.get("replicas") or ()),
        )
        self._restoration = restoration
        self._undo.callback(restoration.undo)
        variables = variables_of_run(run)
        if state["epoch"] is None:
            # An epoch begins with new metrics.
            restoration.leave(state["reset"], self._new_in_an_epoch())
        # While some are missing, numbers in the checkpoint refer to other variables
        # here.
        elif len(variables) == len(state["variables"]):
            ids = {id(variables[number].variable) for number in state["reset"]}
            run.reset_at_next_epoch(
                one
                for one in keras.tree.flatten(list(run.others.values()))
                if isinstance(one, keras.Metric)
                and any(id(variable) in ids for variable in one.variables)
            )
        restoration.begin(variables)

    def _note_what_is_changed(self, objects: Sequence[Any]) -> None:
        """Let `self._undo` change back everything that `restore` changes."""
        run, undo = self._run, self._undo
        # Undone in reverse order, so the random numbers come last: user-defined methods
        # may draw some.
        undo.callback(host_random.set_state, host_random.get_state())
        for one in objects:
            undo.callback(callback_state.resetting(one))
        if run.program is not None:
            undo.callback(run.program.set_state, run.program.get_state())
        # Any epoch will do: `set_state` does not read it.
        undo.callback(run.set_state, run.get_state(0))

    @contextlib.contextmanager
    def _undone_if_it_fails(self, path: str | None = None) -> Iterator[None]:
        """Change everything back if the block raises.

        Args:
            path: The checkpoint, if errors can only come from its contents; they then
                become a `ValueError` with the path.
        """
        try:
            yield
        # Not even Ctrl-C may leave one run with parts of another.
        except BaseException as error:
            self._undo.close()
            if path is None or path in str(error) or not _is_error(error):
                raise
            raise unusable(path, error) from error
        if self._restoration is None:
            # From the first step on, it is this run.
            self._undo.pop_all()


def _sources_in(saved: Saved) -> dict[Any, SavedSource]:
    return {name: SavedSource(saved, *rest) for name, *rest in saved.state["sources"]}


def _is_error(error: BaseException) -> bool:
    """Whether it neither ends the process nor is a warning."""
    return isinstance(error, Exception) and not isinstance(error, Warning)


def _listed(description: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in description.items())

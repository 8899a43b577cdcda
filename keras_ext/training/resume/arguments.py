"""What `resume` requests, and whether it is possible."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_ext.training.resume.checkpoint import Checkpoint
from keras_ext.training.resume.contents import Contents, Saved
from keras_ext.training.resume.schema import check_run, check_stock
from keras_ext.training.resume.store import CheckpointStore
from keras_ext.training.resume.variables import variables_of

Resume = bool | str | os.PathLike[str]


def find_checkpoint(callbacks: Any) -> Checkpoint | None:
    found = [one for one in callbacks if isinstance(one, Checkpoint)]
    if len(found) > 1:
        raise ValueError(
            f"Expected one Checkpoint among the callbacks. Received: {len(found)}, for "
            f"the folders {[one.directory for one in found]}."
        )
    return found[0] if found else None


def read_checkpoint(
    resume: Resume,
    checkpoint: Checkpoint | None,
    check: Callable[[Contents], None] | None = None,
) -> Saved | None:
    """Return what to continue from, or `None` to begin again.

    Args:
        resume: The user's `resume` argument.
        checkpoint: The Checkpoint among the callbacks.
        check: Called with the contents before the tensors are read.
    """
    if resume is True and checkpoint is None:
        raise ValueError(
            "`resume=True` continues from the folder of the Checkpoint among the "
            "callbacks, but there is none. Pass "
            "`callbacks=[keras_ext.callbacks.Checkpoint(directory)]`, or "
            "`resume=directory`."
        )
    if resume is False:
        if checkpoint is not None and checkpoint.files.paths():
            raise FileExistsError(
                f"{checkpoint.directory!r} holds the checkpoints of an earlier run. "
                "Pass `resume=True` to continue it, or choose another folder."
            )
        return None
    if resume is True and checkpoint is not None:
        return _of_a_loop(checkpoint.files.read(check))
    if not isinstance(resume, (str, os.PathLike)):
        raise TypeError(
            "`resume` must be True, False or a folder with checkpoints. "
            f"Received: {resume!r} of type {type(resume).__name__}"
        )
    directory = os.fsdecode(resume)
    saved = _of_a_loop(CheckpointStore(directory).read(check))
    own = checkpoint is not None and _same(directory, checkpoint.files.directory)
    if saved is None and not own:
        raise FileNotFoundError(
            f"`resume`: there is no checkpoint in {directory!r}. Expected: a folder in "
            "which keras_ext.callbacks.Checkpoint has saved a run. (With a Checkpoint "
            "for the same folder among the callbacks, a new run is begun there.)"
        )
    if checkpoint is not None and not own and checkpoint.files.paths():
        raise FileExistsError(
            f"{checkpoint.directory!r} holds the checkpoints of an earlier run, but "
            f"another one, in {directory!r}, is to be continued. Choose an empty "
            "folder for the Checkpoint."
        )
    return saved


def _of_a_loop(saved: Saved | None) -> Saved | None:
    if saved is None:
        return None
    check_stock(saved)
    if "seed" not in saved.state["loop"]:
        raise ValueError(
            f"The checkpoint {saved.path!r} was saved in keras.Model.fit, which cannot "
            "be continued exactly. Expected: one from Trainer.fit or Loop. Choose "
            "another folder, or continue with keras.Model.fit."
        )
    check_run(saved)
    return saved


def _same(first: str, second: str) -> bool:
    return os.path.realpath(first) == os.path.realpath(second)


def check_others(others: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, other in others.items():
        if name in ("model", "optimizer", "metrics", "step"):
            raise ValueError(
                f"`state` must not use the name {name!r}, which is reserved for the "
                "run. Choose another name."
            )
        has_methods = hasattr(other, "get_state") and hasattr(other, "set_state")
        if not (variables_of(other) or has_methods):
            raise TypeError(
                f"`state` has {name!r}, which has neither variables nor the methods "
                "`get_state` and `set_state`. Expected: models, optimizers, metrics, "
                "variables, random generators (built, if they can be), or objects with "
                f"these methods. Received: {other!r} of type {type(other).__name__}"
            )
    return others


def check_logs_are_kept(callbacks: Any) -> None:
    for one in callbacks:
        if isinstance(one, keras.callbacks.CSVLogger) and not one.append:
            raise ValueError(
                "keras.callbacks.CSVLogger would erase the rows of the run that is to "
                "be continued. Use keras_ext.callbacks.CSVLogger, which keeps them, or "
                "append=True."
            )

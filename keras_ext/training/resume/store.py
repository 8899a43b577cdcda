"""Checkpoints in a folder: written completely or not at all, read if complete."""

import concurrent.futures
import contextlib
import errno
import os
import pathlib
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_ext._version import __version__
from keras_ext.training.resume.codec import pack
from keras_ext.training.resume.contents import (
    FORMAT,
    GRAPH,
    STATE,
    Contents,
    OtherFormatError,
    Saved,
    variable_key,
)
from keras_ext.training.resume.folder_lock import FolderLock

_NAME = "ckpt"
_WHOLE = re.compile(rf"{_NAME}-\d+\.index")
_DATA = re.compile(rf"({_NAME}-\d+)\.data-\d+-of-\d+")
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_ATTEMPTS = 5
_PAUSE = 0.02
_UNFINISHED = re.compile(rf"{_NAME}-\d+_temp")


class _Text(tf.train.experimental.PythonState):
    """A string that is saved."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def serialize(self) -> str:
        return self.text

    def deserialize(self, string_value: Any) -> None:
        self.text = string_value


class CheckpointStore:
    """The checkpoints in a folder, each the two files of a `tf.train.Checkpoint`.

    They are written into a separate folder and then moved into place, the index last: a
    checkpoint with an index is complete. (`tf.train.CheckpointManager` writes in place,
    trusts a file that a killed process may have left, and removes whatever matches a
    pattern.)

    Args:
        directory: The folder; created when the first one is written. A relative path is
            resolved immediately.
        max_to_keep: How many to keep. Default: all.

    Raises:
        ValueError: If `directory` has characters that TensorFlow regards as a pattern.
    """

    def __init__(self, directory: str, max_to_keep: int | None = None) -> None:
        given, directory = directory, str(pathlib.Path(directory).absolute())
        # On Windows, a backslash separates folders.
        forbidden = "*?[]" if os.sep == "\\" else "*?[]\\"
        if set(directory) & set(forbidden):
            raise ValueError(
                "The path of a folder for checkpoints must not contain any of "
                f"{' '.join(forbidden)}, which TensorFlow regards as a pattern. "
                f"Received: {given!r}, which is {directory!r}"
            )
        if "://" in given:
            raise ValueError(
                "Checkpoints are written to a folder of the local file system, where "
                f"files can be replaced. Received: {given!r}. Mount it, or save "
                "locally and copy the folder."
            )
        self.directory = directory
        self._folder = pathlib.Path(directory)
        self._max_to_keep = max_to_keep
        self._lock = FolderLock(directory)
        self._process = os.getpid()
        # A checkpoint that is still to be read, and is not removed.
        self.needed: str | None = None
        # The entries that a `tf.train.Checkpoint` adds to that many variables.
        self._graph: tuple[int, bytes] | None = None
        self._thread: concurrent.futures.ThreadPoolExecutor | None = None
        self._writing: concurrent.futures.Future[None] | None = None

    def paths(self) -> list[str]:
        """Return the existing checkpoints, the oldest first."""
        found = [path for path in self._listed() if _WHOLE.fullmatch(path.name)]
        return [str(path.with_suffix("")) for path in sorted(found, key=number_of)]

    def read(self, check: Callable[[Contents], None] | None = None) -> Saved | None:
        """Return the newest complete checkpoint, or `None` if there is none.

        Another process may write and remove checkpoints in the meantime.

        Args:
            check: Called with the declared contents of a checkpoint before its tensors
                are read. Its errors are raised.

        Raises:
            ValueError: If there are some, but none of them can be read.
        """
        for _ in range(_ATTEMPTS):
            paths = self._paths_or_wait()
            found, problems = self._newest(paths, check)
            # A file that cannot be read may just have been removed.
            if not problems or self.paths() == paths:
                break
        if found is None and problems:
            raise ValueError(
                f"No checkpoint in {self.directory!r} can be read. "
                f"{'; '.join(problems)}. Expected: at least one unchanged checkpoint "
                "written by Checkpoint. Choose another folder to start again."
            )
        if found is not None:
            self._warn(problems, found.path)
        return found

    def _newest(
        self, paths: Sequence[str], check: Callable[[Contents], None] | None
    ) -> tuple[Saved | None, list[str]]:
        """Return the newest complete one, and what is wrong with later ones."""
        problems: list[str] = []
        for path in reversed(paths):
            try:
                contents = Contents(path)
            except OtherFormatError:
                # Nothing is wrong with it, so an older one is no substitute.
                self._warn(problems, path)
                raise
            # Damaged bytes may raise anything.
            except Exception as error:
                problems.append(f"{os.path.basename(path)}: {_first_line(error)}")
                continue
            try:
                # A checkpoint that `check` rejects is complete, but of another model:
                # an older one would be too.
                if check is not None:
                    check(contents)
            except ValueError:
                self._warn(problems, path)
                raise
            try:
                return contents.read(), problems
            except Exception as error:
                problems.append(f"{os.path.basename(path)}: {_first_line(error)}")
        return None, problems

    def _warn(self, problems: Sequence[str], used: str) -> None:
        for problem in problems:
            warnings.warn(
                f"{self.directory!r} has a checkpoint that is not complete, and is "
                f"left alone: {problem}. The one before it is used, "
                f"{os.path.basename(used)}.",
                stacklevel=5,
            )

    def _paths_or_wait(self) -> list[str]:
        """Return the existing checkpoints.

        While they are listed, one may be added and the one before it removed, so that
        neither is seen. If there are other files of checkpoints, they are listed again.
        """
        for _ in range(_ATTEMPTS):
            paths = self.paths()
            if paths or not any(map(number_of, self._listed())):
                break
            time.sleep(_PAUSE)
        return paths

    def begin(self, *, lasting: bool) -> None:
        """Create the folder, keep other runs out, and check that it can be written to.

        Otherwise this would be noticed only when the first checkpoint is due.

        Args:
            lasting: Whether `close` is called no matter how the run ends.

        Raises:
            BlockingIOError: If another run is being saved there.
            OSError: If it cannot be written to.
        """
        with self._explained():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(lasting=lasting)
            # A name that `_remove_unfinished` removes if this process is killed now.
            trial = self._folder / f"{_NAME}-0_temp"
            try:
                trial.mkdir(exist_ok=True)
                (trial / "trial").write_bytes(b"trial")
            except OSError:
                self._lock.release()
                raise
            finally:
                shutil.rmtree(trial, ignore_errors=True)

    def write(
        self, variables: Sequence[Any], state: Any, iterators: Sequence[Any] = ()
    ) -> None:
        """Write a checkpoint with the current values of the variables.

        Returns before it is written, unless it includes a dataset's iterator: those are
        read while they are saved. An error in writing is raised by the next call, or by
        `wait`.

        Args:
            variables: Variables of Keras or TensorFlow.
            state: Plain data, including arrays.
            iterators: Iterators of datasets.

        Raises:
            OSError: If it, or the one before it, cannot be written.
            tf.errors.FailedPreconditionError: If an iterator cannot be saved.
        """
        # One at a time: an error in the last one is raised here, and memory holds at
        # most one copy of the values.
        self.wait()
        content = {"variables": len(variables), "state": state}
        text, arrays = pack({"format": FORMAT, "versions": _versions(), **content})
        # Tensors never change: the next steps write to their own memory.
        values = [tf.convert_to_tensor(value) for value in (*arrays, *variables)]
        if self._thread is None:
            self._thread = concurrent.futures.ThreadPoolExecutor(1)
        self._writing = self._thread.submit(self._write, values, text, iterators)
        if iterators:
            self.wait()

    def wait(self) -> None:
        """Return when everything is written.

        Raises:
            OSError: If it could not be.
        """
        if self._process != os.getpid():
            # This process was forked, and has neither the thread nor its work.
            self._process, self._thread, self._writing = os.getpid(), None, None
        writing, self._writing = self._writing, None
        if writing is None:
            return
        with self._explained():
            writing.result()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Let errors of the file system say what was expected."""
        try:
            yield
        # After the first, the Saver continues without iterators; the second says who
        # holds the lock.
        except (tf.errors.FailedPreconditionError, BlockingIOError):
            raise
        except (tf.errors.OpError, OSError) as error:
            last = [os.path.basename(path) for path in self.paths()[-1:]]
            raise OSError(
                f"A checkpoint could not be written to {self.directory!r}: "
                f"{_first_line(error)}. Expected: a folder that may be written to, on "
                "a disk with room for another checkpoint. "
                + (
                    f"The last complete one is {last[0]}."
                    if last
                    else "There is none yet."
                )
            ) from error

    def close(self) -> None:
        """Wait, and release the thread and the folder."""
        try:
            self.wait()
        finally:
            if self._thread is not None:
                self._thread.shutdown()
            self._thread = None
            self._lock.release()

    def _write(self, values: list[Any], text: str, iterators: Sequence[Any]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        # First, since it makes room for the new one.
        self._remove_unfinished()
        name = f"{_NAME}-{self._next_number()}"
        beside = self._folder / f"{name}_temp"
        try:
            # Copies of all variables must not fill the memory of an accelerator.
            with tf.device("CPU:0"):
                self._write_files(str(beside / name), values, text, iterators)
            self._put_in_place(beside)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        self._remove_oldest()

    def _write_files(
        self, path: str, values: list[Any], text: str, iterators: Sequence[Any]
    ) -> None:
        """Write the two files, with values that are not referenced afterward.

        A `tf.train.Checkpoint` writes the first ones. Later ones differ only in the
        values, and are written by its operation alone: everything else it does would
        cost several times as much.
        """
        # The graph of objects depends only on the number of variables.
        if iterators or self._graph is None or self._graph[0] != len(values):
            checkpoint = tf.train.Checkpoint(
                state=_Text(text),
                variables=[tf.Variable(value, trainable=False) for value in values],
                iterators=list(iterators),
            )
            # `save` would add a number and a file that lists checkpoints.
            checkpoint.write(path)
            if not iterators:
                reader = tf.train.load_checkpoint(path)
                self._graph = len(values), reader.get_tensor(GRAPH)
            return
        names = [*map(variable_key, range(len(values))), STATE, GRAPH]
        tf.raw_ops.SaveV2(
            prefix=path,
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[*values, tf.constant(text), tf.constant(self._graph[1])],
        )

    def _put_in_place(self, beside: pathlib.Path) -> None:
        """Move the files of a complete checkpoint into place, the index last."""
        for path in sorted(beside.iterdir(), key=lambda path: path.suffix == ".index"):
            with open(path, "rb+") as file:
                # Before the file gets its name, or a power failure may leave only the
                # name.
                os.fsync(file.fileno())
            os.replace(path, self._folder / path.name)
        # New names are on disk once the folder is; Windows cannot open folders.
        if os.name == "posix":
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            except OSError as error:
                # Some file systems cannot, and need not: everything has been written.
                if error.errno not in _NO_SYNC:
                    raise
            finally:
                os.close(folder)

    def _next_number(self) -> int:
        """Return a number that no file has: nothing is ever overwritten."""
        return 1 + max(map(number_of, self._listed()), default=0)

    def _remove_oldest(self) -> None:
        if self._max_to_keep is None:
            return
        for path in self.paths()[: -self._max_to_keep]:
            # Other programs may also call their checkpoints `ckpt-1`.
            if path != self.needed and _is_ours(path):
                # The index first: a checkpoint with one is complete.
                os.remove(f"{path}.index")
        self._remove_unfinished()

    def _remove_unfinished(self) -> None:
        """Remove what a killed process has begun to write or remove."""
        for path in self._listed():
            data = _DATA.fullmatch(path.name)
            if _UNFINISHED.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)
            elif data and not path.with_name(f"{data[1]}.index").exists():
                with contextlib.suppress(OSError):
                    path.unlink()

    def _listed(self) -> list[pathlib.Path]:
        return list(self._folder.iterdir()) if self._folder.is_dir() else []


def _versions() -> dict[str, str]:
    """Return the object that writes a checkpoint."""
    return {
        "keras_ext": __version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
    }


def _is_ours(path: str) -> bool:
    """Whether a checkpoint was written by this class; false if it cannot be read."""
    try:
        return bool(tf.train.load_checkpoint(path).has_tensor(STATE))
    except (tf.errors.OpError, ValueError, RuntimeError):
        return False


def number_of(path: str | os.PathLike[str]) -> int:
    """Return the number in the name of a checkpoint's file, or 0 if it has none."""
    found = re.match(rf"{_NAME}-(\d+)", os.path.basename(path))
    return int(found[1]) if found else 0


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

"""One run at a time is saved in a folder, and a folder is tried before a training."""

import contextlib
import errno
import os
import pathlib
import signal
import socket
import subprocess
import sys
import textwrap
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ext
from keras_ext.callbacks import Checkpoint
from keras_ext.training.resume import folder_lock
from keras_ext.training.resume.folder_lock import FolderLock
from keras_ext.training.resume.store import CheckpointStore
from tests.forgetful import Forgetful
from tests.training.resume.test_signals import exit_code, forked

X, Y = np.ones((8, 2), "float32"), np.zeros((8, 1), "float32")

# The module alone: its package imports TensorFlow, which takes seconds.
HOLDER = """
    import runpy, sys, time

    lock = runpy.run_path(sys.argv[1])["FolderLock"](sys.argv[2])
    lock.acquire(lasting=True)
    print("locked", flush=True)
    time.sleep(600)
"""


@contextlib.contextmanager
def locked_elsewhere(folder):
    """Have another process lock a folder, and yield the process."""
    arguments = [textwrap.dedent(HOLDER), folder_lock.__file__, str(folder)]
    program = [sys.executable, "-c", *arguments]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"locked\n"
            yield process
        finally:
            process.kill()


def trainer(kind=keras_ext.Trainer):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model = model if kind is None else kind(model)
    model.compile("sgd", loss="mse")
    return model


def fit(folder, *callbacks, kind=keras_ext.Trainer, **options):
    callbacks = [Checkpoint(folder), *callbacks]
    model = trainer(kind)
    return model.fit(X, Y, verbose=0, callbacks=callbacks, **options)


def is_free(folder):
    lock = FolderLock(str(folder))
    try:
        lock.acquire(lasting=True)
    except BlockingIOError:
        return False
    lock.release()
    return True


class Call(Forgetful):
    """Calls a function at the end of the first epoch."""

    def __init__(self, function):
        super().__init__()
        self._function = function

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            self._function()


class TestLock:
    def test_another_process(self, tmp_path):
        """It is named; and when it is killed, the folder is free."""
        with locked_elsewhere(tmp_path) as other:
            lock = FolderLock(str(tmp_path))
            by = rf"by process {other.pid} on host '{socket.gethostname()}'"
            for _ in range(2):
                with pytest.raises(BlockingIOError, match=by):
                    lock.acquire(lasting=True)
            other.kill()
            other.wait()
            assert (tmp_path / folder_lock.NAME).exists()
            lock.acquire(lasting=True)
            text = (tmp_path / folder_lock.NAME).read_text()
            assert text == f"{socket.gethostname()} {os.getpid()}"
        lock.release()
        assert list(tmp_path.iterdir()) == []

    def test_twice(self, tmp_path):
        lock = FolderLock(str(tmp_path))
        lock.release()
        for _ in range(2):
            lock.acquire(lasting=True)
        assert not is_free(tmp_path)
        for _ in range(2):
            lock.release()
        assert is_free(tmp_path)

    def test_by_another_path(self, tmp_path):
        (tmp_path / "run").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "run")
        lock = FolderLock(str(tmp_path / "run"))
        lock.acquire(lasting=False)
        other = FolderLock(str(tmp_path / "link"))
        other.acquire(lasting=True)  # taken over
        with pytest.raises(BlockingIOError, match=f"by process {os.getpid()} on host"):
            lock.acquire(lasting=False)
        other.release()

    def test_who_forgets_it_lets_it_go(self, tmp_path):
        lock = FolderLock(str(tmp_path))
        lock.acquire(lasting=True)
        del lock
        assert is_free(tmp_path)

    @pytest.mark.parametrize("released_by_child", [True, False])
    def test_a_child_neither_keeps_nor_breaks_it(self, released_by_child, tmp_path):
        lock = FolderLock(str(tmp_path))
        lock.acquire(lasting=True)

        def meanwhile():
            if released_by_child:
                lock.release()
            if is_free(tmp_path):
                os._exit(1)

        child = forked(meanwhile)
        try:
            assert not is_free(tmp_path)
            lock.release()
            assert is_free(tmp_path)
        finally:
            os.kill(child, signal.SIGTERM)
            assert exit_code(child) == -signal.SIGTERM

    def test_removed_while_it_is_waited_for(self, tmp_path, monkeypatch):
        """What is locked must be what others find."""
        first, second = FolderLock(str(tmp_path)), FolderLock(str(tmp_path))
        first.acquire(lasting=True)
        flock, calls = folder_lock.fcntl.flock, []

        def later(file, kind):
            calls.append(file)
            if len(calls) == 1:
                first.release()
            flock(file, kind)

        monkeypatch.setattr(folder_lock.fcntl, "flock", later)
        second.acquire(lasting=True)
        assert len(calls) == 2
        monkeypatch.undo()
        assert not is_free(tmp_path)
        second.release()

    @pytest.mark.parametrize("name", ["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
    def test_a_file_system_without_locks(self, name, tmp_path, monkeypatch):
        def none(file, kind):
            raise OSError(getattr(errno, name), "none")

        monkeypatch.setattr(folder_lock.fcntl, "flock", none)
        lock = FolderLock(str(tmp_path))
        with pytest.warns(UserWarning, match="has no locks .*: nothing keeps another"):
            lock.acquire(lasting=True)
        lock.release()
        assert list(tmp_path.iterdir()) == []

    def test_a_text_of_somebody_else(self, tmp_path):
        with locked_elsewhere(tmp_path):
            (tmp_path / folder_lock.NAME).write_bytes(b"\xff\n" * 10_000)
            with pytest.raises(BlockingIOError, match="by another"):
                FolderLock(str(tmp_path)).acquire(lasting=True)


class TestRuns:
    @pytest.mark.parametrize("kind", [keras_ext.Trainer, None])
    def test_two_processes(self, kind, tmp_path):
        with (
            locked_elsewhere(tmp_path) as other,
            pytest.raises(BlockingIOError, match=f"by process {other.pid} on host"),
        ):
            fit(tmp_path, kind=kind)
        assert [one.name for one in tmp_path.iterdir()] == [folder_lock.NAME]
        fit(tmp_path, kind=kind)

    def test_two_trainings_of_a_process(self, tmp_path):
        def another():
            with pytest.raises(BlockingIOError, match=f"by process {os.getpid()} on"):
                fit(tmp_path, resume=True)

        history = fit(tmp_path, Call(another), epochs=2)
        assert history.epoch == [0, 1]
        assert is_free(tmp_path)

    def test_a_loop_that_comes_too_late(self, tmp_path):
        """It would continue from what is no longer the end of the run."""
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        options = {"callbacks": [Checkpoint(tmp_path)], "verbose": 0, "resume": True}
        loop = keras_ext.Loop(model, **options)
        fit(tmp_path)
        with pytest.raises(FileExistsError, match=r"has saved .*ckpt-1' since this"):
            next(iter(loop))
        assert is_free(tmp_path)

    @pytest.mark.parametrize("kind", [keras_ext.Trainer, None])
    def test_after_an_error(self, kind, tmp_path):
        def fail():
            raise KeyError

        # Held on to, as a traceback in a notebook does.
        failing = [Checkpoint(tmp_path), Call(fail)]
        with pytest.raises(KeyError):
            trainer(kind).fit(X, Y, verbose=0, callbacks=failing)
        resume = {"resume": True} if kind else {}
        # Under Keras, nobody has waited for what is being written.
        failing[0].files.wait()
        with contextlib.ExitStack() as stack:
            if kind is None and failing[0].next_epoch:
                stack.enter_context(pytest.warns(UserWarning, match="Restored the"))
            fit(tmp_path, kind=kind, **resume)
        assert is_free(tmp_path)

    def test_a_child_that_leaves_the_training(self, tmp_path):
        """It waits for no thread that it does not have, and the run goes on."""
        codes = []

        def fork():
            def leave():
                checkpoint.files.close()
                if is_free(tmp_path):
                    os._exit(1)
                os._exit(7)

            codes.append(exit_code(forked(leave)))

        checkpoint = Checkpoint(tmp_path)
        slow = CheckpointStore._write_files

        def slowly(files, *args):
            time.sleep(0.5)
            return slow(files, *args)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(CheckpointStore, "_write_files", slowly)
            trainer().fit(
                X, Y, epochs=2, verbose=0, callbacks=[checkpoint, CallLater(fork)]
            )
        assert codes == [7]
        assert len(checkpoint.files.paths()) == 2


class CallLater(Call):
    """Calls it while the first checkpoint is being written."""

    def on_epoch_end(self, epoch, logs=None):
        pass

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self._function()


class TestAtTheStart:
    """What can't be written is found before the first step."""

    @pytest.mark.parametrize("kind", [keras_ext.Trainer, None])
    def test_a_file_in_place_of_a_folder(self, kind, tmp_path):
        (tmp_path / "run").write_text("a file")
        message = r"could not be written to .*run'.* There is none yet\."
        model = trainer(kind)
        with pytest.raises(OSError, match=message):
            model.fit(
                X, Y, verbose=0, callbacks=[Checkpoint(tmp_path / "run", save_freq=99)]
            )
        assert model.optimizer.iterations == 0
        assert (tmp_path / "run").read_text() == "a file"

    @pytest.mark.skipif(
        hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere"
    )
    def test_a_folder_that_is_read_only(self, tmp_path):
        tmp_path.chmod(0o500)
        try:
            with pytest.raises(OSError, match="Permission denied"):
                fit(tmp_path)
        finally:
            tmp_path.chmod(0o700)

    @pytest.mark.parametrize(
        ("owner", "step"),
        [(os, "open"), (pathlib.Path, "mkdir")],
        ids=["open", "mkdir"],
    )
    def test_a_disk_that_is_read_only(self, owner, step, tmp_path, monkeypatch):
        original = getattr(owner, step)

        def read_only(path, *args, **kwargs):
            if str(path).startswith(str(tmp_path)):
                raise OSError(errno.EROFS, "Read-only file system")
            return original(path, *args, **kwargs)

        monkeypatch.setattr(owner, step, read_only)
        with pytest.raises(OSError, match=r"Read-only file system\. Expected:"):
            fit(tmp_path)
        monkeypatch.undo()
        assert list(tmp_path.iterdir()) == []
        assert is_free(tmp_path)


class TestFolderSync:
    @pytest.mark.parametrize("name", ["EINVAL", "ENOTSUP", "EIO"])
    def test_fsync_of_a_folder(self, name, tmp_path, monkeypatch):
        fsync = os.fsync

        def of_files_only(file):
            if os.path.isdir(f"/proc/self/fd/{file}"):
                raise OSError(getattr(errno, name), "no folder")
            return fsync(file)

        monkeypatch.setattr(os, "fsync", of_files_only)
        files = CheckpointStore(str(tmp_path))
        files.write([tf.Variable(1.0)], 1)
        if name == "EIO":
            with pytest.raises(OSError, match="no folder"):
                files.close()
        else:
            files.close()
            assert files.read().state == 1


class TestReaderBesideAWriter:
    def put(self, files, number):
        files.write([tf.Variable(float(number))], number)
        files.wait()

    def test_it_is_removed_while_it_is_read(self, tmp_path, monkeypatch):
        """As often as a writer that keeps one can do that."""
        writer, reader = (CheckpointStore(str(tmp_path), 1) for _ in range(2))
        self.put(writer, 1)
        load, written = tf.train.load_checkpoint, [1]

        def late(path):
            if len(written) < 3:
                written.append(len(written) + 1)
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(tf.train, "load_checkpoint", load)
                    self.put(writer, written[-1])
            return load(path)

        monkeypatch.setattr(tf.train, "load_checkpoint", late)
        assert reader.read().state == 3
        writer.close()

    def test_it_is_missed_in_a_listing(self, tmp_path, monkeypatch):
        files = CheckpointStore(str(tmp_path), 1)
        self.put(files, 1)
        paths, calls = files.paths, []

        def incomplete():
            calls.append(1)
            return [] if len(calls) == 1 else paths()

        monkeypatch.setattr(files, "paths", incomplete)
        assert files.read().state == 1
        files.close()

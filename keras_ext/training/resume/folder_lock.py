"""A folder that only one run at a time may save to."""

import contextlib
import errno
import os
import socket
import sys
import threading
import warnings
import weakref

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

NAME = "ckpt.lock"
_ATTEMPTS = 100
# On Windows, others cannot read locked bytes, so these are outside the text.
_BEHIND_THE_TEXT = 2**20
# Errors by which a file system reports that it has no locks.
_NO_LOCKS = {
    getattr(errno, name, None)
    for name in ("EINVAL", "ENOLCK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP")
}


class FolderLock:
    """Keeps other runs out of a folder, on this machine and on others that mount it.

    A file in the folder is locked by the operating system, which unlocks it when the
    process ends, however that happens. The file says who locked it, and is removed at
    the end. A process forked in the meantime has no share in the lock.

    Args:
        directory: The folder.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._path = os.path.join(directory, NAME)
        self._file: int | None = None
        self._is_lasting = False

    def acquire(self, *, lasting: bool) -> None:
        """Lock the folder, which exists; nothing if this object has locked it before.

        Args:
            lasting: Whether `release` is called no matter how the run ends. Otherwise,
                another run of this process may take over the folder.

        Raises:
            BlockingIOError: If another run has locked it.
            OSError: If the file cannot be written.
        """
        with _guard:
            self._is_lasting = lasting
            if self._file is None:
                # The operating system also refuses the same process a second lock.
                for other in list(_locked):
                    other.give_way(self._directory)
                self._file = self._locked_file()
                _locked.add(self)

    def release(self) -> None:
        """Unlock the folder, if it is locked."""
        with _guard:
            self._unlock()

    def give_way(self, directory: str) -> None:
        """Unlock the folder if it is this one, and `release` may never be called."""
        with contextlib.suppress(FileNotFoundError):
            same = os.path.samefile(self._directory, directory)
            if same and not self._is_lasting:
                self._unlock()

    def leave(self) -> None:
        """Give up the lock without unlocking what another process holds."""
        file, self._file = self._file, None
        _locked.discard(self)
        if file is not None:
            os.close(file)

    def __del__(self) -> None:
        self.leave()

    def _unlock(self) -> None:
        if self._file is not None:
            # Before it is unlocked: later, it might be another's. If an open file
            # cannot be removed, it stays.
            with contextlib.suppress(OSError):
                os.remove(self._path)
            self.leave()

    def _locked_file(self) -> int:
        for _ in range(_ATTEMPTS):
            # Not emptied yet: it may say who holds the lock.
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                self._lock(file)
                if self._is_there(file):
                    os.ftruncate(file, 0)
                    os.write(file, f"{socket.gethostname()} {os.getpid()}".encode())
                    return file
            except BaseException:
                os.close(file)
                raise
            # The previous holder has removed it in the meantime.
            os.close(file)
        raise OSError(f"{self._path!r} is repeatedly removed by something")

    def _lock(self, file: int) -> None:
        try:
            if sys.platform == "win32":
                os.lseek(file, _BEHIND_THE_TEXT, os.SEEK_SET)
                msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
                os.lseek(file, 0, os.SEEK_SET)
            else:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise self._error(file) from None
            warnings.warn(
                f"The file system of {self._directory!r} has no locks ({error}): "
                "nothing keeps another run from being saved there at the same time.",
                stacklevel=2,
            )

    def _is_there(self, file: int) -> bool:
        # On a network file system, a file removed elsewhere cannot be inspected.
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(file), os.stat(self._path))
        return False

    def _error(self, file: int) -> BlockingIOError:
        os.lseek(file, 0, os.SEEK_SET)
        host, _, process = os.read(file, 300).decode(errors="replace").partition(" ")
        by = f"process {process} on host {host!r}" if process.isdigit() else "another"
        return BlockingIOError(
            f"Another run is being saved in {self._directory!r}, by {by}. Expected: a "
            "separate folder for every run. Choose another one, or wait until that run "
            "has ended."
        )


_locked: "weakref.WeakSet[FolderLock]" = weakref.WeakSet()
_guard = threading.RLock()


def _leave_all() -> None:
    global _guard
    # At the fork, a thread that is not in this process may have held the old lock.
    _guard = threading.RLock()
    for lock in list(_locked):
        lock.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all)

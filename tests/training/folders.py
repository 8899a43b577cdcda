"""What is in a folder, to be compared."""

import hashlib
import pathlib


def contents(folder):
    """Return a hash of every file in a folder, `None` for a folder in it."""
    return {
        str(path.relative_to(folder)): None
        if path.is_dir()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(pathlib.Path(folder).rglob("*"))
    }

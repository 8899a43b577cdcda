"""The line that a warning names."""

import inspect

_NOT_OF_USERS = ("keras_ext", "keras", "tensorflow")


def level_of_user() -> int:
    """Return the `stacklevel` with which `warnings.warn` names the user's line.

    It depends on whether a step is made by `fit`, by `steps` in a loop, or by `step`.
    """
    frame, level = inspect.currentframe(), 0
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.split(".")[0] not in _NOT_OF_USERS:
            break
        frame, level = frame.f_back, level + 1
    return level

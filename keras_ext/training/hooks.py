"""The names of `Trainer`'s hooks, and a look at whether a subclass spells them so."""

HOOKS = (
    "train_step",
    "forward",
    "compute_loss",
    "compute_gradients",
    "apply_gradients",
    "compute_metrics",
    "test_step",
    "predict_step",
)


def check_spelling(cls: type) -> None:
    """Raise `TypeError` if `cls` defines a method one typing error from a hook.

    Such a method would never be called, and the default would run in its place.
    """
    for name, value in vars(cls).items():
        if not callable(value) or name in HOOKS or name.startswith("_"):
            continue
        for hook in HOOKS:
            if _one_slip_apart(name, hook):
                raise TypeError(
                    f"{cls.__name__}.{name} looks like a misspelling of the hook "
                    f"`{hook}` and would never be called. Expected one of "
                    f"{', '.join(HOOKS)}. Rename it; if it is a method of your own, "
                    "give it a name that is less alike."
                )


def _one_slip_apart(name: str, hook: str) -> bool:
    """Whether one letter more, less, other or swapped turns `name` into `hook`."""
    if name.lower() == hook or name.replace("_", "") == hook.replace("_", ""):
        return True
    if abs(len(name) - len(hook)) > 1:
        return False
    same = next(
        (i for i, (a, b) in enumerate(zip(name, hook, strict=False)) if a != b),
        min(len(name), len(hook)),
    )
    rest, wanted = name[same:], hook[same:]
    swapped = rest[:2] == wanted[:2][::-1] and rest[2:] == wanted[2:]
    return swapped or rest[1:] == wanted[1:] or rest[1:] == wanted or rest == wanted[1:]

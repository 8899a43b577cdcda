"""The names of `Trainer`'s hooks, and checks of their overrides."""

import functools
import inspect
from typing import Any, Protocol

import keras

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


class SteppedModel(Protocol):
    """A Keras model with the hooks of a Trainer, as seen by its compiled steps."""

    model: keras.Model
    compiled: bool
    run_eagerly: bool
    optimizer: Any
    variables: Any
    trainable_variables: Any
    distribute_strategy: Any

    def train_step(self, data: Any) -> Any:
        """Make one update and return the logs."""

    def test_step(self, data: Any) -> Any:
        """Return the logs for one batch of `evaluate`."""

    def predict_step(self, data: Any) -> Any:
        """Return the predictions for one batch."""

    def forward(self, x: Any, training: bool) -> Any:
        """Return the predictions, for all steps."""

    def compute_loss(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool
    ) -> Any:
        """Return the scalar to minimize."""

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
        """Return the logs."""


def check_spelling(cls: type) -> None:
    """Raise `TypeError` if `cls` defines a method that is one typo away from a hook.

    Such a method would never be called, and the default would run instead.
    """
    for name, value in vars(cls).items():
        if not callable(value) or name in HOOKS or name.startswith("_"):
            continue
        for hook in HOOKS:
            if _one_slip_apart(name, hook):
                raise TypeError(
                    f"{cls.__name__}.{name} looks like a misspelling of the hook "
                    f"`{hook}` and would never be called. Expected one of "
                    f"{', '.join(HOOKS)}. Rename it; if it is not meant to be a hook, "
                    "give it a less similar name."
                )


def accept_training(cls: type) -> None:
    """Let a `compute_loss` without the argument `training` be called with it.

    Keras allows leaving it out: its own was added later.
    """
    # Possibly of another base class. One that was wrapped here already takes it.
    override = inspect.getattr_static(cls, "compute_loss")
    if not inspect.isfunction(override):
        return
    parameters = inspect.signature(override, follow_wrapped=False).parameters
    if "training" in parameters or any(
        p.kind is p.VAR_KEYWORD for p in parameters.values()
    ):
        return

    # It keeps its signature, by which Keras's own steps call it.
    @functools.wraps(override)
    def compute_loss(
        self: Any,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        return override(self, x, y, y_pred, sample_weight)

    cls.compute_loss = compute_loss  # type: ignore[attr-defined]


def check_loss(trainer: keras.Model, loss: Any) -> None:
    """Raise `ValueError` unless `compute_loss` returned a scalar."""
    shape = getattr(loss, "shape", ())
    if loss is None or len(shape):
        received = "None" if loss is None else f"a tensor of shape {tuple(shape)}"
        raise ValueError(
            f"`{type(trainer).__name__}.compute_loss` must return one number. "
            f"Received: {received}. Reduce it, for example with `keras.ops.mean`."
        )


def check_gradients(trainer: keras.Model, gradients: Any) -> None:
    """Raise `ValueError` unless `compute_gradients` returned as many as needed."""
    count = len(trainer.trainable_variables)
    if not isinstance(gradients, (list, tuple)) or len(gradients) != count:
        length = f" of {len(gradients)}" if hasattr(gradients, "__len__") else ""
        raise ValueError(
            f"`{type(trainer).__name__}.compute_gradients` must return a list of one "
            f"gradient per trainable variable, {count} in total. Received: "
            f"{type(gradients).__name__}{length}"
        )


def _one_slip_apart(name: str, hook: str) -> bool:
    """Whether adding, removing, changing or swapping one letter makes `name` `hook`."""
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


def overrides(trainer: SteppedModel, hook: str) -> bool:
    """Whether the Trainer's class overrides a default hook."""
    # Trainers of this package, such as SharpnessAwareTrainer, behave like the default
    # hooks in this respect.
    first = next(cls for cls in type(trainer).__mro__ if hook in vars(cls))
    return first.__module__.split(".")[0] not in ("keras_ext", "keras")

"""Reading an optimizer's learning rate and the step that it is for."""

from typing import Any

from keras import ops


def single_optimizers(optimizer: Any) -> list[Any]:
    """Return the optimizers with a rate each: `optimizer`, or its parts.

    A `LossScaleOptimizer` or `Lookahead` stands for its inner optimizer; a
    `MultiOptimizer` for its parts, of which there may be none before it is built.
    """
    inner = _innermost(optimizer)
    return list(getattr(inner, "optimizers", [inner]))


def read_learning_rate(optimizer: Any) -> float:
    """Return the rate that a single optimizer would use now."""
    rate = ops.convert_to_tensor(optimizer.learning_rate)
    return float(ops.convert_to_numpy(rate))


def holds_schedule(optimizer: Any) -> bool:
    """Whether a single optimizer uses its own schedule or function."""
    try:
        optimizer.learning_rate = read_learning_rate(optimizer)
    except (TypeError, AttributeError):
        return True
    return False


def read_learning_rates(optimizer: Any) -> dict[str, float]:
    """Return all rates by the names under which Keras's callbacks log them."""
    singles = single_optimizers(optimizer)
    if hasattr(_innermost(optimizer), "optimizers"):
        return {f"learning_rate_{one.name}": read_learning_rate(one) for one in singles}
    if getattr(singles[0], "learning_rate", None) is None:
        return {}
    return {"learning_rate": read_learning_rate(singles[0])}


def step_counter(optimizer: Any) -> Any:
    """Return the variable with the step that a schedule would be called with now."""
    if optimizer.gradient_accumulation_steps:
        # `iterations` counts the updates, but a schedule is called with the batch.
        return next(v for v in optimizer.variables if v.name == "iteration")
    return optimizer.iterations


def read_step(optimizer: Any) -> int:
    """Return the step that a single optimizer would call its schedule with now."""
    return int(ops.convert_to_numpy(ops.convert_to_tensor(step_counter(optimizer))))


def _innermost(optimizer: Any) -> Any:
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer

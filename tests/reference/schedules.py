"""Learning rate schedules, as functions of one step."""

import math
from collections.abc import Callable


def _anneal(start: float, end: float, progress: float, how: str) -> float:
    """Go from `start` at progress 0 to `end` at progress 1."""
    if how == "linear":
        return start + (end - start) * progress
    if how == "cosine":
        return end + (start - end) * (1.0 + math.cos(math.pi * progress)) / 2.0
    raise ValueError(f"unknown annealing {how!r}")


def one_cycle(
    step: float,
    max_learning_rate: float,
    total_steps: float,
    warmup_fraction: float = 0.3,
    initial_learning_rate: float | None = None,
    final_learning_rate: float | None = None,
    anneal: str = "cosine",
) -> float:
    """Rise once to the maximum, then fall far below where the rise began.

    From the initial rate (by default maximum / 25) at step 0 to the maximum at
    step warmup_fraction x total_steps, to the final rate (by default initial /
    10,000) at step total_steps and after it.

    Smith & Topin 2018, "Super-convergence", https://arxiv.org/abs/1708.07120, whose
    two legs are linear; the half cosines are those of fastai and of PyTorch.
    """
    initial = initial_learning_rate
    if initial is None:
        initial = max_learning_rate / 25.0
    final = final_learning_rate
    if final is None:
        final = initial / 1e4
    peak = warmup_fraction * total_steps
    if step >= total_steps:
        return final
    if step < peak:
        return _anneal(initial, max_learning_rate, step / peak, anneal)
    progress = (step - peak) / (total_steps - peak)
    return _anneal(max_learning_rate, final, progress, anneal)


def cyclical(
    step: float,
    initial_learning_rate: float,
    max_learning_rate: float,
    step_size: float,
    mode: str = "triangular",
    gamma: float = 1.0,
) -> float:
    """Rise for `step_size` steps, fall for as many, and begin again.

    The amplitude above the initial rate stays ("triangular"), is halved after
    every cycle ("triangular2") or is multiplied by gamma^step ("exp_range").
    Smith 2017, https://arxiv.org/abs/1506.01186, section 3.
    """
    cycles_done = math.floor(step / (2 * step_size))
    into_cycle = step - cycles_done * 2 * step_size
    if into_cycle <= step_size:
        height = into_cycle / step_size
    else:
        height = (2 * step_size - into_cycle) / step_size
    if mode == "triangular":
        factor = 1.0
    elif mode == "triangular2":
        factor = 0.5**cycles_done
    elif mode == "exp_range":
        factor = gamma**step
    else:
        raise ValueError(f"unknown mode {mode!r}")
    amplitude = (max_learning_rate - initial_learning_rate) * factor
    return initial_learning_rate + amplitude * height


def warmup(
    step: float,
    warmup_steps: float,
    target: float | Callable[[float], float],
    initial_learning_rate: float = 0.0,
) -> float:
    """Rise linearly to where the target begins, then follow it from its step 0.

    initial + (target(0) - initial) step / warmup_steps  before `warmup_steps`,
    target(step - warmup_steps)                          from then on.

    Goyal et al. 2017, https://arxiv.org/abs/1706.02677, section 2.2.
    """

    def follow(target_step: float) -> float:
        return target(target_step) if callable(target) else target

    if step >= warmup_steps:
        return float(follow(step - warmup_steps))
    rise = (follow(0) - initial_learning_rate) * step / warmup_steps
    return initial_learning_rate + rise

"""More learning rate schedules, as functions of one step."""

import math
from collections.abc import Callable, Sequence


def chain(
    step: int,
    schedules: Sequence[float | Callable[[float], float]],
    boundaries: Sequence[int],
) -> float:
    """Follow schedule i from boundaries[i - 1] on, counted from its own step 0."""
    i = 0
    start = 0
    for boundary in boundaries:
        if step >= boundary:
            i += 1
            start = boundary
    schedule = schedules[i]
    return float(schedule(step - start) if callable(schedule) else schedule)


def inverse_square_root(
    step: float,
    max_learning_rate: float,
    warmup_steps: float,
    *,
    initial_learning_rate: float = 0.0,
) -> float:
    """Rise linearly to the maximum, then fall as max sqrt(warmup_steps / step).

    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, equation 3, where the
    maximum is (d_model warmup_steps)^-0.5 and the rise begins at 0.
    """
    if step < warmup_steps:
        rise = (max_learning_rate - initial_learning_rate) * step / warmup_steps
        return initial_learning_rate + rise
    return max_learning_rate * math.sqrt(warmup_steps / step)


def step_decay(
    step: int,
    initial_learning_rate: float,
    step_size: int | Sequence[int],
    gamma: float = 0.1,
) -> float:
    """Multiply by gamma every `step_size` steps, or at each of the steps listed."""
    if isinstance(step_size, Sequence):
        decays = sum(1 for decay in step_size if decay <= step)
    else:
        decays = step // step_size
    return initial_learning_rate * gamma**decays


def cosine_with_hard_restarts(
    step: float,
    initial_learning_rate: float,
    first_decay_steps: float,
    *,
    t_mul: float = 1.0,
    m_mul: float = 1.0,
    alpha: float = 0.0,
) -> float:
    """Fall along a half cosine, jump back to the top, and fall again.

    Cycle i = 0, 1, .. takes first_decay_steps t_mul^i steps and falls from
    initial (alpha + (1 - alpha) m_mul^i) to initial alpha.  Loshchilov & Hutter
    2017, https://arxiv.org/abs/1608.03983, equation 5 (where m_mul is 1).
    """
    length = float(first_decay_steps)
    height = 1.0
    while step >= length:
        step -= length
        length *= t_mul
        height *= m_mul
    cosine = height * (1.0 + math.cos(math.pi * step / length)) / 2.0
    return initial_learning_rate * (alpha + (1.0 - alpha) * cosine)

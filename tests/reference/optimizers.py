"""Optimizers: the weights after every step, given a function of gradients.

`gradient(weights, step)` is the gradient of step 0, 1, .. at `weights`, one array;
several variables are one array too, flat and joined.  Every function returns the
weights before the first step and after each: (steps + 1, *shape of weights).
"""

import math
from collections.abc import Callable

import numpy as np

Gradient = Callable[[np.ndarray, int], np.ndarray]
Rate = float | Callable[[int], float]
# The weights after a step, of the weights before it, their gradient and the step.
Rule = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def _rate(learning_rate: Rate, step: int) -> float:
    """Return the rate of step 0, 1, .. of a schedule, or the number."""
    return float(learning_rate(step) if callable(learning_rate) else learning_rate)


def _run(rule: Rule, weights: np.ndarray, gradient: Gradient, steps: int) -> np.ndarray:
    """Apply a rule `steps` times and keep all weights."""
    current = np.array(weights, dtype=np.float64)
    path = [current]
    for step in range(steps):
        slope = np.asarray(gradient(current, step), dtype=np.float64)
        current = rule(current, slope, step)
        path.append(current)
    return np.stack(path)


def _decayed(
    weights: np.ndarray, rate: float, weight_decay: float | None
) -> np.ndarray:
    """w - rate decay w: decoupled, before the step (Loshchilov & Hutter 2019)."""
    return weights if weight_decay is None else weights - rate * weight_decay * weights


def sgd_rule(
    learning_rate: Rate = 0.01,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float | None = None,
) -> Rule:
    """Return u = momentum u - rate g; w + u, or w + momentum u - rate g (Nesterov).

    Sutskever et al. 2013, section 2, where the rate is inside the velocity.
    """
    velocity: np.ndarray | float = 0.0

    def rule(weights: np.ndarray, slope: np.ndarray, step: int) -> np.ndarray:
        nonlocal velocity
        rate = _rate(learning_rate, step)
        weights = _decayed(weights, rate, weight_decay)
        velocity = momentum * velocity - rate * slope
        if nesterov:
            return weights + momentum * velocity - rate * slope
        return weights + velocity

    return rule


def adam_rule(
    learning_rate: Rate = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    weight_decay: float | None = None,
) -> Rule:
    """Return w - rate m / (1 - b1^t) sqrt(1 - b2^t) / (sqrt(v) + epsilon).

    Kingma & Ba 2015, https://arxiv.org/abs/1412.6980, the form at the end of
    section 2, whose epsilon is beside the root of v before its correction.
    """
    m: np.ndarray | float = 0.0
    v: np.ndarray | float = 0.0

    def rule(weights: np.ndarray, slope: np.ndarray, step: int) -> np.ndarray:
        nonlocal m, v
        rate = _rate(learning_rate, step)
        weights = _decayed(weights, rate, weight_decay)
        t = step + 1
        m = beta_1 * m + (1.0 - beta_1) * slope
        v = beta_2 * v + (1.0 - beta_2) * slope**2
        corrected = m / (1.0 - beta_1**t)
        adaptive = math.sqrt(1.0 - beta_2**t) / (np.sqrt(v) + epsilon)
        return weights - rate * corrected * adaptive

    return rule


def rectified_adam_rule(
    learning_rate: Rate = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    weight_decay: float | None = None,
) -> Rule:
    """Return Adam's step times r_t where rho_t > 4, and w - rate m_hat before.

    Liu et al. 2020, https://arxiv.org/abs/1908.03265, algorithm 2, with
    l_t = sqrt(1 - b2^t) / (sqrt(v_t) + epsilon): epsilon stands outside the root.
    """
    m: np.ndarray | float = 0.0
    v: np.ndarray | float = 0.0
    rho_inf = 2.0 / (1.0 - beta_2) - 1.0

    def rule(weights: np.ndarray, slope: np.ndarray, step: int) -> np.ndarray:
        nonlocal m, v
        rate = _rate(learning_rate, step)
        weights = _decayed(weights, rate, weight_decay)
        t = step + 1
        v = beta_2 * v + (1.0 - beta_2) * slope**2
        m = beta_1 * m + (1.0 - beta_1) * slope
        corrected = m / (1.0 - beta_1**t)
        rho = rho_inf - 2.0 * t * beta_2**t / (1.0 - beta_2**t)
        if rho <= 4.0:
            return weights - rate * corrected
        adaptive = math.sqrt(1.0 - beta_2**t) / (np.sqrt(v) + epsilon)
        rectification = math.sqrt(
            ((rho - 4.0) * (rho - 2.0) * rho_inf)
            / ((rho_inf - 4.0) * (rho_inf - 2.0) * rho)
        )
        return weights - rate * rectification * corrected * adaptive

    return rule


def sgd(
    weights: np.ndarray,
    gradient: Gradient,
    steps: int,
    *,
    learning_rate: Rate = 0.01,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float | None = None,
) -> np.ndarray:
    """Descend as `sgd_rule` says."""
    rule = sgd_rule(learning_rate, momentum, nesterov, weight_decay)
    return _run(rule, weights, gradient, steps)


def adam(
    weights: np.ndarray,
    gradient: Gradient,
    steps: int,
    *,
    learning_rate: Rate = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    weight_decay: float | None = None,
) -> np.ndarray:
    """Descend as `adam_rule` says."""
    rule = adam_rule(learning_rate, beta_1, beta_2, epsilon, weight_decay)
    return _run(rule, weights, gradient, steps)


def rectified_adam(
    weights: np.ndarray,
    gradient: Gradient,
    steps: int,
    *,
    learning_rate: Rate = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    weight_decay: float | None = None,
) -> np.ndarray:
    """Descend as `rectified_adam_rule` says."""
    rule = rectified_adam_rule(learning_rate, beta_1, beta_2, epsilon, weight_decay)
    return _run(rule, weights, gradient, steps)


def lookahead(
    weights: np.ndarray,
    gradient: Gradient,
    steps: int,
    inner: Rule,
    *,
    sync_period: int = 6,
    slow_step_size: float = 0.5,
) -> np.ndarray:
    """Take k inner steps, go a share of the way, and go on from there.

    slow = slow + slow_step_size (fast - slow), fast = slow after every
    `sync_period` steps; a step is an inner one, and what is returned are the fast
    weights.  The inner optimizer keeps its moments.

    Zhang et al. 2019, https://arxiv.org/abs/1907.08610, algorithm 1.
    """
    slow = np.array(weights, dtype=np.float64)

    def rule(fast: np.ndarray, slope: np.ndarray, step: int) -> np.ndarray:
        nonlocal slow
        fast = inner(fast, slope, step)
        if (step + 1) % sync_period == 0:
            slow = slow + slow_step_size * (fast - slow)
            fast = slow
        return fast

    return _run(rule, weights, gradient, steps)


def lookahead_sgd(
    weights: np.ndarray,
    gradient: Gradient,
    steps: int,
    *,
    sync_period: int = 6,
    slow_step_size: float = 0.5,
    learning_rate: Rate = 0.01,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> np.ndarray:
    """Look ahead with `sgd_rule`."""
    return lookahead(
        weights,
        gradient,
        steps,
        sgd_rule(learning_rate, momentum, nesterov),
        sync_period=sync_period,
        slow_step_size=slow_step_size,
    )


def lookahead_adam(
    weights: np.ndarray,
    gradient: Gradient,
    steps: int,
    *,
    sync_period: int = 6,
    slow_step_size: float = 0.5,
    learning_rate: Rate = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
) -> np.ndarray:
    """Look ahead with `adam_rule`."""
    return lookahead(
        weights,
        gradient,
        steps,
        adam_rule(learning_rate, beta_1, beta_2, epsilon),
        sync_period=sync_period,
        slow_step_size=slow_step_size,
    )


def sam_sgd(
    weights: np.ndarray,
    gradient: Gradient,
    steps: int,
    *,
    rho: float = 0.05,
    learning_rate: Rate = 0.01,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> np.ndarray:
    """Descend along the gradient at w + rho g / |g|, g the gradient at w.

    |g| is the length of all weights' gradient together; where it is 0, so is the
    perturbation.  Foret et al. 2021, https://arxiv.org/abs/2010.01412, algorithm 1
    with equation 2 for p = 2.
    """

    def sharpness_aware(current: np.ndarray, step: int) -> np.ndarray:
        slope = np.asarray(gradient(current, step), dtype=np.float64)
        length = math.sqrt(sum(float(entry) ** 2 for entry in slope.reshape(-1)))
        if length == 0.0:
            return slope
        return gradient(current + rho * slope / length, step)

    rule = sgd_rule(learning_rate, momentum, nesterov)
    return _run(rule, weights, sharpness_aware, steps)

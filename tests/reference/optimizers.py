"""Optimizers: the weights after every step, given a function of gradients.

`gradient(weights, step)` is the gradient of step 0, 1, .. at `weights`, one array;
several variables are one array too, flat and joined.  Every function returns the
weights before the first step and after each: (steps + 1, *shape of weights).

The last four take the gradients themselves, one array a step, and return the weights
after each: (len(gradients), *shape of weights).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Gradient = Callable[[np.ndarray, int], np.ndarray]
Rate = float | Callable[[int], float]
# The weights after a step, of the weights before it, their gradient and the step.
Rule = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
# Rows of a variable, and a gradient for each; a row may stand there several times.
Sparse = tuple[np.ndarray, np.ndarray]


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


def _follow(
    rule: Rule, weights: np.ndarray, gradients: Sequence[np.ndarray]
) -> np.ndarray:
    """Apply a rule to given gradients and keep the weights after each."""
    return _run(rule, weights, lambda _, step: gradients[step], len(gradients))[1:]


def _decayed(
    weights: np.ndarray, rate: float, weight_decay: float | None
) -> np.ndarray:
    """w - rate decay w: decoupled, before the step (Loshchilov & Hutter 2019)."""
    return weights if weight_decay is None else weights - rate * weight_decay * weights


def _rectification(t: int, beta_2: float, threshold: float) -> float | None:
    """Return r_t of Liu et al. 2020, algorithm 2, or None where rho_t <= threshold.

    The paper's threshold is 4, which is the smallest: below, r_t is not real.
    """
    rho_inf = 2.0 / (1.0 - beta_2) - 1.0
    rho = rho_inf - 2.0 * t * beta_2**t / (1.0 - beta_2**t)
    if rho <= threshold:
        return None
    return math.sqrt(
        ((rho - 4.0) * (rho - 2.0) * rho_inf)
        / ((rho_inf - 4.0) * (rho_inf - 2.0) * rho)
    )


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

    def rule(weights: np.ndarray, slope: np.ndarray, step: int) -> np.ndarray:
        nonlocal m, v
        rate = _rate(learning_rate, step)
        weights = _decayed(weights, rate, weight_decay)
        t = step + 1
        v = beta_2 * v + (1.0 - beta_2) * slope**2
        m = beta_1 * m + (1.0 - beta_1) * slope
        corrected = m / (1.0 - beta_1**t)
        rectification = _rectification(t, beta_2, 4.0)
        if rectification is None:
            return weights - rate * corrected
        adaptive = math.sqrt(1.0 - beta_2**t) / (np.sqrt(v) + epsilon)
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


def adabelief(
    weights: np.ndarray,
    gradients: Sequence[np.ndarray],
    *,
    learning_rate: Rate = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-14,
    weight_decay: float | None = None,
    amsgrad: bool = False,
    rectify: bool = False,
    sma_threshold: float = 5.0,
) -> np.ndarray:
    """Return w - rate m_hat / (sqrt(s_hat) + epsilon), s of the surprise g - m.

    m_t = b1 m_{t-1} + (1 - b1) g_t
    s_t = b2 s_{t-1} + (1 - b2) (g_t - m_t)^2 + epsilon
    m_hat = m_t / (1 - b1^t), s_hat = s_t / (1 - b2^t)

    Zhuang et al. 2020, https://arxiv.org/abs/2010.07468, algorithm 2.  Its epsilon
    is in the recurrence, so that it accumulates, and beside the root as well.

    `amsgrad`: s_hat = max(s_1, .., s_t) / (1 - b2^t), the maximum of Reddi et al.
    2018, https://arxiv.org/abs/1904.09237, algorithm 2, taken before the correction.
    `rectify`: Liu et al. 2020, https://arxiv.org/abs/1908.03265, algorithm 2, with
    `sma_threshold` for its 4: the step times r_t, or w - rate m_hat before.
    `weight_decay` is decoupled and comes before the step.
    """
    m: np.ndarray | float = 0.0
    s: np.ndarray | float = 0.0
    largest: np.ndarray | float = 0.0

    def rule(weights: np.ndarray, slope: np.ndarray, step: int) -> np.ndarray:
        nonlocal m, s, largest
        rate = _rate(learning_rate, step)
        weights = _decayed(weights, rate, weight_decay)
        t = step + 1
        m = beta_1 * m + (1.0 - beta_1) * slope
        s = beta_2 * s + (1.0 - beta_2) * (slope - m) ** 2 + epsilon
        largest = np.maximum(largest, s)
        corrected = m / (1.0 - beta_1**t)
        belief = (largest if amsgrad else s) / (1.0 - beta_2**t)
        adaptive = 1.0 / (np.sqrt(belief) + epsilon)
        if not rectify:
            return weights - rate * corrected * adaptive
        rectification = _rectification(t, beta_2, sma_threshold)
        if rectification is None:
            return weights - rate * corrected
        return weights - rate * rectification * corrected * adaptive

    return _follow(rule, weights, gradients)


def yogi(
    weights: np.ndarray,
    gradients: Sequence[np.ndarray],
    *,
    learning_rate: Rate = 0.01,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-3,
    initial_accumulator_value: float = 1e-6,
    bias_correction: bool = True,
) -> np.ndarray:
    """Return w - rate m / (sqrt(v) + epsilon), v moved by a share of g^2.

    m_t = b1 m_{t-1} + (1 - b1) g_t, m_0 = 0
    v_t = v_{t-1} - (1 - b2) sign(v_{t-1} - g_t^2) g_t^2

    Zaheer et al. 2018, "Adaptive Methods for Nonconvex Optimization", algorithm 2,
    which corrects no bias: that is `bias_correction=False`.  Otherwise the rate is
    multiplied by sqrt(1 - b2^t) / (1 - b1^t), as TensorFlow Federated documents it for
    `build_yogi`; epsilon is then beside the root of v before its correction.  v_0 is
    the initial accumulator value.
    """
    m: np.ndarray | float = 0.0
    v: np.ndarray | float = initial_accumulator_value

    def rule(weights: np.ndarray, slope: np.ndarray, step: int) -> np.ndarray:
        nonlocal m, v
        rate = _rate(learning_rate, step)
        t = step + 1
        m = beta_1 * m + (1.0 - beta_1) * slope
        v = v - (1.0 - beta_2) * np.sign(v - slope**2) * slope**2
        if bias_correction:
            rate *= math.sqrt(1.0 - beta_2**t) / (1.0 - beta_1**t)
        return weights - rate * m / (np.sqrt(v) + epsilon)

    return _follow(rule, weights, gradients)


def novograd(
    weights: np.ndarray,
    gradients: Sequence[np.ndarray],
    *,
    learning_rate: Rate = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    grad_averaging: bool = False,
    amsgrad: bool = False,
) -> np.ndarray:
    """Return w - rate m, for one variable: v is one number, of its whole gradient.

    v_1 = |g_1|^2, v_t = b2 v_{t-1} + (1 - b2) |g_t|^2
    m_t = b1 m_{t-1} + share (g_t / (sqrt(v_t) + epsilon) + decay w_{t-1}), m_0 = 0

    share is 1, or 1 - b1 with `grad_averaging` after the first step: the paper avoids a
    bias by m_1 = g_1 / |g_1| + decay w_0.  `amsgrad` has max(v_1, .., v_t) for v_t.

    Ginsburg et al. 2019, https://arxiv.org/abs/1905.11286, algorithm 1.
    """
    m: np.ndarray | float = 0.0
    v = 0.0
    largest = 0.0

    def rule(weights: np.ndarray, slope: np.ndarray, step: int) -> np.ndarray:
        nonlocal m, v, largest
        square = sum(float(entry) ** 2 for entry in slope.reshape(-1))
        v = square if step == 0 else beta_2 * v + (1.0 - beta_2) * square
        largest = max(largest, v)
        length = math.sqrt(largest if amsgrad else v)
        share = 1.0 - beta_1 if grad_averaging and step else 1.0
        m = beta_1 * m + share * (slope / (length + epsilon) + weight_decay * weights)
        return weights - _rate(learning_rate, step) * m

    return _follow(rule, weights, gradients)


def _named(gradient: np.ndarray | Sparse) -> list[tuple[Any, np.ndarray]]:
    """Return each named row once, with its gradients added up; `...` names all."""
    if not isinstance(gradient, tuple):
        return [(..., np.asarray(gradient, dtype=np.float64))]
    indices, values = gradient
    total: dict[int, np.ndarray] = {}
    for row, value in zip(indices, values, strict=True):
        total[int(row)] = total.get(int(row), 0.0) + np.asarray(value, np.float64)
    return list(total.items())


def lazy_adam(
    weights: np.ndarray,
    gradients: Sequence[np.ndarray | Sparse],
    *,
    learning_rate: Rate = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
) -> np.ndarray:
    """Return `adam_rule` for the rows that a gradient names; the others stay.

    A gradient is an array of the weights' shape, or a pair of indices (n,) and values
    (n, *shape of a row), whose rows of the same index are added up first.  A row that
    is not named keeps its weights and both its moments; t counts all steps.

    Kingma & Ba 2015, https://arxiv.org/abs/1412.6980, the form at the end of section
    2, for each named row.  No paper: TensorFlow's `LazyAdamOptimizer` documents it.
    """
    current = np.array(weights, dtype=np.float64)
    m, v = np.zeros_like(current), np.zeros_like(current)
    path = []
    for step, gradient in enumerate(gradients):
        t = step + 1
        rate = _rate(learning_rate, step)
        rate *= math.sqrt(1.0 - beta_2**t) / (1.0 - beta_1**t)
        for row, slope in _named(gradient):
            m[row] = beta_1 * m[row] + (1.0 - beta_1) * slope
            v[row] = beta_2 * v[row] + (1.0 - beta_2) * slope**2
            current[row] -= rate * m[row] / (np.sqrt(v[row]) + epsilon)
        path.append(current.copy())
    return np.stack(path)

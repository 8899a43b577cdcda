"""Recurrent cells, one sample and one unit at a time.

A kernel has the columns of one gate next to each other, as Keras has them: input gate,
forget gate, new value, output gate. `masks` are those of dropout: one array for `x` and
one for `h`, of a row for each gate (or node).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

Function = Callable[[float], float]
States = tuple[np.ndarray, np.ndarray]


def sigmoid(x: float) -> float:
    """1 / (1 + e^-x)."""
    return 1 / (1 + math.exp(-x))


def _layer_norm(values: np.ndarray, gain: np.ndarray, bias: np.ndarray, epsilon: float):
    """Ba et al. 2016, equation 4: over the units of a layer, of one sample."""
    mean = sum(map(float, values)) / len(values)
    variance = sum((float(a) - mean) ** 2 for a in values) / len(values)
    sigma = math.sqrt(variance + epsilon)
    return np.array(
        [
            float(g) * (float(a) - mean) / sigma + float(b)
            for a, g, b in zip(values, gain, bias, strict=True)
        ]
    )


def _linear(vector: np.ndarray, kernel: np.ndarray, mask: np.ndarray | None, gates=4):
    """The sums of each gate's units, of a vector with the mask of the gate."""
    units = kernel.shape[1] // gates
    totals = np.zeros(kernel.shape[1])
    for column in range(kernel.shape[1]):
        for i, value in enumerate(vector):
            factor = 1.0 if mask is None else float(mask[column // units, i])
            totals[column] += factor * float(value) * float(kernel[i, column])
    return totals


def layer_norm_lstm(
    x: np.ndarray,
    h: np.ndarray,
    c: np.ndarray,
    weights: Sequence[np.ndarray],
    *,
    use_bias: bool = True,
    epsilon: float = 1e-3,
    phi: Function = math.tanh,
    gate: Function = sigmoid,
    normalized_carry: bool = False,
    masks: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
) -> States:
    """One step of Ba et al. 2016, https://arxiv.org/abs/1607.06450, equations 20 to 22.

    (f, i, o, g) = LN(W_h h; alpha_1, beta_1) + LN(W_x x; alpha_2, beta_2) + b
    c_t = sigma(f) c + sigma(i) tanh(g)
    h_t = sigma(o) tanh(LN(c_t; alpha_3, beta_3))

    TensorFlow Addons carries LN(c_t) on to the next step, not c_t: `normalized_carry`.
    """
    w_x, w_h, *rest = weights
    b = rest.pop(0) if use_bias else np.zeros(w_x.shape[1])
    alpha_2, beta_2, alpha_1, beta_1, alpha_3, beta_3 = rest
    units = len(c)
    of_h = _layer_norm(_linear(h, w_h, masks[1]), alpha_1, beta_1, epsilon)
    of_x = _layer_norm(_linear(x, w_x, masks[0]), alpha_2, beta_2, epsilon)
    z = [float(of_h[k]) + float(of_x[k]) + float(b[k]) for k in range(4 * units)]
    new_c, new_h = np.zeros(units), np.zeros(units)
    for j in range(units):
        i, f, g, _ = (z[k * units + j] for k in range(4))
        new_c[j] = gate(f) * float(c[j]) + gate(i) * phi(g)
    normed = _layer_norm(new_c, alpha_3, beta_3, epsilon)
    for j in range(units):
        new_h[j] = gate(z[3 * units + j]) * phi(float(normed[j]))
    return new_h, normed if normalized_carry else new_c


def peephole_lstm(
    x: np.ndarray,
    h: np.ndarray,
    c: np.ndarray,
    weights: Sequence[np.ndarray],
    *,
    use_bias: bool = True,
    phi: Function = math.tanh,
    gate: Function = sigmoid,
    masks: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
) -> States:
    """One step of Gers and Schmidhuber 2000, with cells of one unit.

    In the form of Sak et al. 2014, https://arxiv.org/abs/1402.1128, equations 1 to 5:

    i_t = sigma(W_ix x + W_im m + W_ic c + b_i)
    f_t = sigma(W_fx x + W_fm m + W_fc c + b_f)
    c_t = f_t c + i_t g(W_cx x + W_cm m + b_c)
    o_t = sigma(W_ox x + W_om m + W_oc c_t + b_o)
    m_t = o_t h(c_t)

    The weights of the peepholes are diagonal. Gers and Schmidhuber have h(c) = c.
    """
    w_x, w_h, *rest = weights
    b = rest.pop(0) if use_bias else np.zeros(w_x.shape[1])
    w_ic, w_fc, w_oc = rest
    units = len(c)
    of_x, of_h = _linear(x, w_x, masks[0]), _linear(h, w_h, masks[1])
    new_c, new_h = np.zeros(units), np.zeros(units)
    for j in range(units):
        a_i, a_f, a_c, a_o = (
            float(of_x[k * units + j] + of_h[k * units + j] + b[k * units + j])
            for k in range(4)
        )
        before = float(c[j])
        i = gate(a_i + float(w_ic[j]) * before)
        f = gate(a_f + float(w_fc[j]) * before)
        after = f * before + i * phi(a_c)
        o = gate(a_o + float(w_oc[j]) * after)
        new_c[j], new_h[j] = after, o * phi(after)
    return new_h, new_c


def _relu(x: float) -> float:
    return max(x, 0.0)


# The tree of figure 8 from its leaves up: what combines two branches, and the function
# of the result. The leaves combine x and h.
_LEAVES = [
    ("+", sigmoid),
    ("+", _relu),
    ("+", sigmoid),
    ("*", _relu),
    ("+", math.tanh),
    ("+", sigmoid),
    ("+", math.tanh),
    ("+", sigmoid),
]
_PAIRS = [("*", math.tanh), ("+", math.tanh), ("*", math.tanh), ("+", sigmoid)]
_FOURS = [("*", None), ("+", math.tanh)]
_ROOT = ("*", math.tanh)


def _combine(node: tuple[str, Function | None], a: float, b: float) -> float:
    sign, function = node
    value = a * b if sign == "*" else a + b
    return value if function is None else function(value)


def nas(
    x: np.ndarray,
    h: np.ndarray,
    c: np.ndarray,
    weights: Sequence[np.ndarray],
    *,
    use_bias: bool = False,
    projection: bool = False,
    masks: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
) -> States:
    """One step of the cell of Zoph and Le 2016, https://arxiv.org/abs/1611.01578.

    Figure 8, the one found without max and sin. The old cell state is added to the
    first pair, with tanh; the new one is the first branch below the root. Bias and
    projection are those of TensorFlow Addons: the bias is added to W_h h.
    """
    w_h, w_x, *rest = weights
    b = rest.pop(0) if use_bias else np.zeros(w_x.shape[1])
    units = len(c)
    of_x = _linear(x, w_x, masks[0], gates=8)
    of_h = _linear(h, w_h, masks[1], gates=8) + b
    new_c, new_h = np.zeros(units), np.zeros(units)
    for j in range(units):
        level = [
            _combine(node, float(of_x[k * units + j]), float(of_h[k * units + j]))
            for k, node in enumerate(_LEAVES)
        ]
        level = [
            _combine(node, level[2 * k], level[2 * k + 1])
            for k, node in enumerate(_PAIRS)
        ]
        level[0] = math.tanh(level[0] + float(c[j]))
        level = [
            _combine(node, level[2 * k], level[2 * k + 1])
            for k, node in enumerate(_FOURS)
        ]
        new_c[j], new_h[j] = level[0], _combine(_ROOT, *level)
    if projection:
        (kernel,) = rest
        new_h = np.array(
            [
                sum(float(new_h[j]) * float(kernel[j, k]) for j in range(units))
                for k in range(kernel.shape[1])
            ]
        )
    return new_h, new_c


def sequence(
    step: Callable[..., States],
    x: np.ndarray,
    states: States,
    weights: Sequence[np.ndarray],
    mask: np.ndarray | None = None,
    masks: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
    **options: object,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outputs at all steps and last states of `x`, of (batch, time, features).

    At a step that `mask` leaves out, output and states are those of the step before.
    `masks` of dropout have one more axis in front, for the samples.
    """
    outputs, last_h, last_c = [], [], []
    for n, steps in enumerate(np.asarray(x, dtype=np.float64)):
        h, c = (np.asarray(state[n], dtype=np.float64) for state in states)
        of_sample = tuple(one if one is None else one[n] for one in masks)
        row, shown = [], np.zeros_like(h)
        for t, vector in enumerate(steps):
            if mask is None or mask[n, t]:
                h, c = step(vector, h, c, weights, masks=of_sample, **options)
                shown = h
            row.append(shown)
        outputs.append(row)
        last_h.append(h)
        last_c.append(c)
    return np.array(outputs), np.array(last_h), np.array(last_c)

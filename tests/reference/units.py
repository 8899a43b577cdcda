"""Maxout, noisy and periodic units, one output value at a time."""

import math

import numpy as np


def maxout(x: np.ndarray, units: int, axis: int = -1) -> np.ndarray:
    """max_j z_ij, unit i owning the neighbours i k, ..., i k + k - 1 of `axis`.

    Goodfellow et al. 2013, https://arxiv.org/abs/1302.4389, section 2.
    """
    z = np.moveaxis(np.asarray(x, dtype=np.float64), axis, -1)
    pieces, rest = divmod(z.shape[-1], units)
    if rest or not pieces:
        raise ValueError(f"{z.shape[-1]} channels for {units} units")
    output = np.zeros((*z.shape[:-1], units))
    for index in np.ndindex(*output.shape):
        channels, first = z[index[:-1]], index[-1] * pieces
        output[index] = max(float(channels[first + j]) for j in range(pieces))
    return np.moveaxis(output, -1, axis)


def noisy_dense(
    x: np.ndarray,
    mu_kernel: np.ndarray,
    sigma_kernel: np.ndarray,
    mu_bias: np.ndarray | None,
    sigma_bias: np.ndarray | None,
    noise_kernel: np.ndarray,
    noise_bias: np.ndarray | None,
) -> np.ndarray:
    """x (mu_w + sigma_w eps_w) + mu_b + sigma_b eps_b; None leaves a term out.

    Fortunato et al. 2017, https://arxiv.org/abs/1706.10295, section 3, equation 9,
    but with kernels of (inputs, units); inputs are on the last axis of `x`.
    """
    x = np.asarray(x, dtype=np.float64)
    inputs, units = np.shape(mu_kernel)
    output = np.zeros((*x.shape[:-1], units))
    for index in np.ndindex(*output.shape):
        row, j = x[index[:-1]], index[-1]
        total = 0.0
        if mu_bias is not None:
            total += float(mu_bias[j])
        if sigma_bias is not None and noise_bias is not None:
            total += float(sigma_bias[j]) * float(noise_bias[j])
        for i in range(inputs):
            noise = float(sigma_kernel[i, j]) * float(noise_kernel[i, j])
            total += float(row[i]) * (float(mu_kernel[i, j]) + noise)
        output[index] = total
    return output


def _signed_root(value: float) -> float:
    """f(x) = sgn(x) sqrt|x|: Fortunato et al. 2017, section 3 (b)."""
    return math.copysign(math.sqrt(abs(value)), value)


def factorized_noise(
    noise_in: np.ndarray, noise_out: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """eps_w[i, j] = f(eps_in[i]) f(eps_out[j]) and eps_b[j] = f(eps_out[j]).

    Fortunato et al. 2017, https://arxiv.org/abs/1706.10295, equations 10 and 11.
    """
    inputs, units = len(noise_in), len(noise_out)
    noise_kernel, noise_bias = np.zeros((inputs, units)), np.zeros(units)
    for j in range(units):
        noise_bias[j] = _signed_root(float(noise_out[j]))
        for i in range(inputs):
            noise_kernel[i, j] = _signed_root(float(noise_in[i])) * noise_bias[j]
    return noise_kernel, noise_bias


def noisy_dense_moments(
    x: np.ndarray,
    sigma_kernel: np.ndarray,
    sigma_bias: np.ndarray | None,
    factorized: bool,
) -> np.ndarray:
    """Return the variance of every output over the noise: (batch, units).

    From equations 9 to 11 of Fortunato et al. 2017, https://arxiv.org/abs/1706.10295.
    """
    # Independent: y_j is a constant plus sum_i x_i s_ij e_ij + s_j e_j, of which all
    # e have variance 1, so Var y_j = sum_i (x_i s_ij)^2 + s_j^2.
    #
    # Factorized: y_j is a constant plus F_j (sum_i x_i s_ij F_i + s_j), F = f(e).  F_j
    # and the F_i are independent, symmetric about 0, and E F^2 = E|e| = sqrt(2 / pi)
    # = m.  So E y_j is the constant, and its variance is
    #   E F_j^2 E(sum_i x_i s_ij F_i + s_j)^2 = m (m sum_i (x_i s_ij)^2 + s_j^2),
    # the mixed terms being multiples of E F_i = 0 or of E F_i F_k = 0.
    x = np.asarray(x, dtype=np.float64)
    inputs, units = np.shape(sigma_kernel)
    m = math.sqrt(2.0 / math.pi) if factorized else 1.0
    output = np.zeros((x.shape[0], units))
    for n in range(x.shape[0]):
        for j in range(units):
            kernel_part = 0.0
            for i in range(inputs):
                kernel_part += (float(x[n, i]) * float(sigma_kernel[i, j])) ** 2
            bias_part = 0.0 if sigma_bias is None else float(sigma_bias[j]) ** 2
            output[n, j] = m * (m * kernel_part + bias_part)
    return output


def snake(x: np.ndarray, a: float) -> np.ndarray:
    """x - cos(2 a x) / (2 a) + 1 / (2 a), whose limit for a -> 0 is x.

    Ziyin et al. 2020, https://arxiv.org/abs/2006.08195, equation 3.
    """
    x, a = np.asarray(x, dtype=np.float64), float(a)
    output = x.copy()
    for index in np.ndindex(*x.shape):
        if a:
            output[index] += (1.0 - math.cos(2.0 * a * x[index])) / (2.0 * a)
    return output

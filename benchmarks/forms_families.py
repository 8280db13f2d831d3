"""Closed forms of KL between families as a competent user writes them with NumPy and SciPy, near rows losing digits.

Each takes the parameters of P as (rows, 1, d) arrays and those of Q as (1, m, d), or whole rows where one product of
matrices gives all pairs.
"""

from __future__ import annotations

import numpy as np
from scipy.special import digamma, gamma, gammaln, i0e, i1e, ive


def rayleigh(s, S):
    r = (s / S) ** 2
    return r - 1 - np.log(r)


def negative_binomial(r, p, R, q):
    return r * (p / (1 - p) * np.log(p / q) + np.log((1 - p) / (1 - q)))


def gamma_laws(a, b, A, B):
    return (a - A) * digamma(a) - gammaln(a) + gammaln(A) + A * (np.log(b) - np.log(B)) + a * (B / b - 1)


def chi2(df, DF):
    a, A = df / 2, DF / 2
    return (a - A) * digamma(a) - gammaln(a) + gammaln(A)


def inverse_gaussian(m, k, M, K):
    r = K / k
    return (r - 1 - np.log(r)) / 2 + K * (m - M) ** 2 / (2 * M**2 * m)


def weibull(s, k, S, K):
    return (np.log(k / K) + K * np.log(S) - k * np.log(s) + (k - K) * (np.log(s) - np.euler_gamma / k)
            + (s / S) ** K * gamma(K / k + 1) - 1)


def von_mises(m, k, M, K):
    length = i1e(k) / i0e(k)
    return np.log(i0e(K)) + K - np.log(i0e(k)) - k + length * (k - K * np.cos(m - M))


BY_COORDINATES = {"Rayleigh": rayleigh, "NegativeBinomial": negative_binomial, "InverseGamma": gamma_laws, "Chi2": chi2,
                  "InverseGaussian": inverse_gaussian, "Weibull": weibull, "VonMises": von_mises}


def von_mises_fisher(mu, k, nu, K):
    """mu, nu (rows, d); k, K (rows,)."""
    half = mu.shape[1] / 2

    def log_norm(k):  # of exp(k mu . x), without 2 pi
        return np.log(ive(half - 1, k)) + k - (half - 1) * np.log(k)

    length = ive(half, k) / ive(half - 1, k)
    return (length * k - log_norm(k))[:, None] + log_norm(K) - (length[:, None] * mu) @ (K[:, None] * nu).T


def log_det(L):
    return 2 * np.log(np.diagonal(L, axis1=1, axis2=2)).sum(axis=1)


def precision_of(L):
    inverse = np.linalg.inv(L)
    return np.swapaxes(inverse, 1, 2) @ inverse


def multivariate_normal(m, L, M, S):
    """m, M (rows, d); L, S (rows, d, d), Cholesky factors."""
    n, d = m.shape
    precision = precision_of(S)
    weighted = (precision @ M[:, :, None])[:, :, 0]
    second = L @ np.swapaxes(L, 1, 2) + m[:, :, None] * m[:, None, :]
    out = second.reshape(n, -1) @ (0.5 * precision.reshape(len(M), -1)).T
    out -= m @ weighted.T
    out += 0.5 * ((M * weighted).sum(axis=1) + log_det(S))
    out -= 0.5 * (log_det(L) + d)[:, None]
    return out


def wishart(n, L, N, M):
    """n, N (rows,); L, M (rows, d, d), Cholesky factors."""
    d, precision = L.shape[1], precision_of(M)
    halves, HALVES = (x[:, None] / 2 - np.arange(d) / 2 for x in (n, N))
    trace = (L @ np.swapaxes(L, 1, 2)).reshape(len(n), -1) @ precision.reshape(len(N), -1).T
    slopes = digamma(halves).sum(axis=1)
    own = (n / 2) * slopes - gammaln(halves).sum(axis=1) - n * d / 2
    return (own[:, None] + gammaln(HALVES).sum(axis=1) + n[:, None] / 2 * trace - slopes[:, None] * (N / 2)
            + N / 2 * (log_det(M) - log_det(L)[:, None]))

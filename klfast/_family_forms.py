"""Closed forms in mpmath, behind klfast.reference_families: textbook formulas on purpose, at any precision.

kl_*(mp, p, q), h_*(mp, t) (entropy), eta_*(mp, t) (natural parameters), A_*(mp, eta) (log-partition up to affine
parts), space_*(mp, eta) (whether there is such a member), log_*(mp, t, x) (log density). Rows are lists of mp numbers.
"""

from __future__ import annotations


def everywhere(mp, e):
    return True


def first_negative(mp, e):
    return e[0] < 0


def last_negative(mp, e):
    return e[-1] < 0


def all_positive(mp, e):
    return min(e) > 0



def A_log(mp, e):
    return -mp.log(-e[0])


def A_half_log(mp, e):
    return -mp.log(-e[0]) / 2


# ---- normal ----------------------------------------------------------------------------------------------------


def kl_normal(mp, p, q):
    return mp.log(q[1] / p[1]) + (p[1] ** 2 + (p[0] - q[0]) ** 2) / (2 * q[1] ** 2) - mp.mpf(1) / 2


def h_normal(mp, t):
    return mp.log(2 * mp.pi * mp.e * t[1] ** 2) / 2


def h_log_normal(mp, t):
    return h_normal(mp, t) + t[0]


def eta_normal(mp, t):
    return [t[0] / t[1] ** 2, -1 / (2 * t[1] ** 2)]


def A_normal(mp, e):
    return -e[0] ** 2 / (4 * e[1]) - mp.log(-2 * e[1]) / 2


def kl_rayleigh(mp, p, q):
    s = (p[0] / q[0]) ** 2
    return s - 1 - mp.log(s)


def kl_half_normal(mp, p, q):
    return kl_rayleigh(mp, p, q) / 2


def h_half_normal(mp, t):
    return mp.log(mp.pi * mp.e * t[0] ** 2 / 2) / 2


def h_rayleigh(mp, t):
    return 1 + mp.log(t[0] / mp.sqrt(2)) + mp.euler / 2


def eta_square(mp, t):
    return [-1 / (2 * t[0] ** 2)]


def triangle(mp, row):
    """The lower triangular matrix whose rows, without zeros, are `row`."""
    d = int((8 * len(row) + 1) ** 0.5 - 1) // 2
    L = mp.zeros(d)
    for i in range(d):
        for j in range(i + 1):
            L[i, j] = row[i * (i + 1) // 2 + j]
    return L


def split_mvn(mp, row):
    d = int(((9 + 8 * len(row)) ** 0.5 - 3) / 2 + 0.5)
    return mp.matrix(row[:d]), triangle(mp, row[d:])


def trace(A):
    return sum(A[i, i] for i in range(A.rows))


def lower(A):
    return [A[i, j] for i in range(A.rows) for j in range(i + 1)]


def symmetric(mp, entries):
    L = triangle(mp, entries)
    return mp.matrix(L.rows, L.rows) + L + L.T - mp.diag([L[i, i] for i in range(L.rows)])


def log_det(mp, L):
    return 2 * mp.fsum(mp.log(L[i, i]) for i in range(L.rows))


def kl_mvn(mp, p, q):
    (m, L), (n, M) = split_mvn(mp, p), split_mvn(mp, q)
    inverse = (M * M.T) ** -1
    gap = m - n
    return (trace(inverse * L * L.T) + (gap.T * inverse * gap)[0] - L.rows + log_det(mp, M) - log_det(mp, L)) / 2


def h_mvn(mp, t):
    m, L = split_mvn(mp, t)
    return (L.rows * mp.log(2 * mp.pi * mp.e) + log_det(mp, L)) / 2


def eta_mvn(mp, t):
    m, L = split_mvn(mp, t)
    precision = (L * L.T) ** -1
    return [*(precision * m), *lower(precision)]


def A_mvn(mp, e):
    d = int(((9 + 8 * len(e)) ** 0.5 - 3) / 2 + 0.5)
    precision, eta = symmetric(mp, e[d:]), mp.matrix(e[:d])
    return ((eta.T * precision**-1 * eta)[0] - mp.log(mp.det(precision))) / 2


def positive_definite(mp, A):
    try:
        mp.cholesky(A)
        return True
    except ValueError:
        return False


def space_mvn(mp, e):
    d = int(((9 + 8 * len(e)) ** 0.5 - 3) / 2 + 0.5)
    return positive_definite(mp, symmetric(mp, e[d:]))


# ---- counts ----------------------------------------------------------------------------------------------------


def _part(mp, a, b):
    return mp.mpf(0) if a == 0 else mp.inf if b == 0 else a * mp.log(a / b)


def kl_bernoulli(mp, p, q):
    return _part(mp, p[0], q[0]) + _part(mp, 1 - p[0], 1 - q[0])


def h_bernoulli(mp, t):
    return -_part(mp, t[0], mp.mpf(1)) - _part(mp, 1 - t[0], mp.mpf(1))


def eta_bernoulli(mp, t):
    return [mp.log(t[0] / (1 - t[0]))]


def A_bernoulli(mp, e):
    return mp.log1p(mp.exp(e[0]))


def sigmoid(mp, a):
    return 1 / (1 + mp.exp(-a))


def kl_logits(mp, p, q):
    return sigmoid(mp, p[0]) * (p[0] - q[0]) - A_bernoulli(mp, p) + A_bernoulli(mp, q)


def h_logits(mp, t):
    return A_bernoulli(mp, t) - sigmoid(mp, t[0]) * t[0]


def kl_binomial(mp, p, q):
    return p[0] * kl_bernoulli(mp, p[1:], q[1:])


def eta_binomial(mp, t):
    return [mp.log(t[1] / (1 - t[1])), t[0]]


def A_binomial(mp, e):
    return e[1] * mp.log1p(mp.exp(e[0]))


def kl_geometric(mp, p, q):
    return kl_bernoulli(mp, p, q) / p[0]


def h_geometric(mp, t):
    return h_bernoulli(mp, t) / t[0]


def eta_geometric(mp, t):
    return [mp.log(1 - t[0])]


def A_geometric(mp, e):
    return -mp.log(1 - mp.exp(e[0]))


def kl_negative_binomial(mp, p, q):
    return p[0] / (1 - p[1]) * kl_bernoulli(mp, p[1:], q[1:])


def eta_negative_binomial(mp, t):
    return [mp.log(t[1]), t[0]]


def A_negative_binomial(mp, e):
    return -e[1] * mp.log(1 - mp.exp(e[0]))


def kl_poisson(mp, p, q):
    return _part(mp, p[0], q[0]) - p[0] + q[0]


# ---- gamma and relatives ---------------------------------------------------------------------------------------


def kl_exponential(mp, p, q):
    return q[0] / p[0] - 1 - mp.log(q[0] / p[0])


def h_exponential(mp, t):
    return 1 - mp.log(t[0])


def kl_gamma(mp, p, q):
    return ((p[0] - q[0]) * mp.psi(0, p[0]) - mp.loggamma(p[0]) + mp.loggamma(q[0])
            + q[0] * mp.log(p[1] / q[1]) + p[0] * (q[1] - p[1]) / p[1])


def h_gamma(mp, t):
    return t[0] - mp.log(t[1]) + mp.loggamma(t[0]) + (1 - t[0]) * mp.psi(0, t[0])


def h_inverse_gamma(mp, t):
    return t[0] + mp.log(t[1]) + mp.loggamma(t[0]) - (1 + t[0]) * mp.psi(0, t[0])


def A_gamma(mp, e):
    return mp.loggamma(e[0]) - e[0] * mp.log(-e[1])


def space_gamma(mp, e):
    return e[0] > 0 and e[1] < 0


def kl_chi2(mp, p, q):
    return kl_gamma(mp, [p[0] / 2, mp.mpf(1) / 2], [q[0] / 2, mp.mpf(1) / 2])


def h_chi2(mp, t):
    return h_gamma(mp, [t[0] / 2, mp.mpf(1) / 2])


def kl_dirichlet(mp, p, q):
    P = mp.fsum(p)
    return A_dirichlet(mp, q) - A_dirichlet(mp, p) + mp.fsum(
        (a - b) * (mp.psi(0, a) - mp.psi(0, P)) for a, b in zip(p, q))


def h_dirichlet(mp, t):
    total = mp.fsum(t)
    return A_dirichlet(mp, t) - mp.fsum((a - 1) * (mp.psi(0, a) - mp.psi(0, total)) for a in t)


def A_dirichlet(mp, e):
    return mp.fsum(mp.loggamma(a) for a in e) - mp.loggamma(mp.fsum(e))


def kl_inverse_gaussian(mp, p, q):
    s = q[1] / p[1]
    return (s - 1 - mp.log(s)) / 2 + q[1] * (p[0] - q[0]) ** 2 / (2 * q[0] ** 2 * p[0])


def h_inverse_gaussian(mp, t):
    phi = t[1] / t[0]
    return mp.log(2 * mp.pi * mp.e * t[0] ** 3 / t[1]) / 2 - mp.exp(2 * phi) * mp.e1(2 * phi) * 3 / 2


def eta_inverse_gaussian(mp, t):
    return [-t[1] / (2 * t[0] ** 2), -t[1] / 2]


def A_inverse_gaussian(mp, e):
    return -mp.log(-2 * e[1]) / 2 - 2 * mp.sqrt(e[0] * e[1])


def space_inverse_gaussian(mp, e):
    return e[0] <= 0 and e[1] < 0  # 0: Levy's law


def kl_wishart(mp, p, q):
    (n, L), (m, M) = (p[0], triangle(mp, p[1:])), (q[0], triangle(mp, q[1:]))
    ratio = (M * M.T) ** -1 * (L * L.T)
    halves = [(m - k) / 2 for k in range(L.rows)], [(n - k) / 2 for k in range(L.rows)]
    logs = mp.fsum(mp.loggamma(a) - mp.loggamma(b) - (a - b) * mp.psi(0, b) for a, b in zip(*halves))
    return logs + n / 2 * (trace(ratio) - L.rows) + m / 2 * (log_det(mp, M) - log_det(mp, L))


def h_wishart(mp, t):
    n, L = t[0], triangle(mp, t[1:])
    d, halves = L.rows, [(n - k) / 2 for k in range(L.rows)]
    log_norm = mp.fsum(map(mp.loggamma, halves)) + mp.mpf(d * (d - 1)) / 4 * mp.log(mp.pi)
    return ((d + 1) * (log_det(mp, L) + d * mp.log(2)) / 2 + log_norm + n * d / 2
            - (n - d - 1) / 2 * mp.fsum(mp.psi(0, a) for a in halves))


def eta_wishart(mp, t):
    L = triangle(mp, t[1:])
    return [*lower((L * L.T) ** -1), t[0] / 2]


def A_wishart(mp, e):
    precision = symmetric(mp, e[:-1])
    halves = [e[-1] - mp.mpf(k) / 2 for k in range(precision.rows)]
    return mp.fsum(map(mp.loggamma, halves)) - e[-1] * mp.log(mp.det(precision))


def space_wishart(mp, e):
    precision = symmetric(mp, e[:-1])
    return positive_definite(mp, precision) and e[-1] > mp.mpf(precision.rows - 1) / 2

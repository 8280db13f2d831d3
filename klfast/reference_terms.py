"""The terms of the divergences of klfast.reference: one function each, of one bin.

A term has the arguments (mp, p, q, x): an mpmath context, the two weights of a bin, not both 0, and
x = log(q / p), which is inf where p = 0 and -inf where q = 0. It is nonnegative, 0 only where p = q, and carries a
small *relative* error however near p and q are: x does, and the rest is in functions of x that do not cancel.
Row by row the terms sum to the divergence.
"""

from __future__ import annotations

from fractions import Fraction

AS_THEY_ARE = ("generalized_kl", "itakura_saito")  # of rows that are not normalised
NEAR = 1e-3  # below this, functions of x come from their power series: 20 terms give 60 digits


def kl(mp, p, q, x):
    """``p log(p / q) - p + q = p (e^x - 1 - x)``."""
    if not q:
        return mp.inf
    return p * _excess(mp, x) if p else q


def reverse_kl(mp, p, q, x):
    return kl(mp, q, p, -x)


def jeffreys(mp, p, q, x):
    """``(q - p) log(q / p)``."""
    return p * mp.expm1(x) * x if p and q else mp.inf


def itakura_saito(mp, p, q, x):
    """``p / q - log(p / q) - 1``."""
    return _excess(mp, -x) if p and q else mp.inf


def skew_js(mp, p, q, x, weight=0.5):
    """``w p log(p / m) + v q log(q / m)``, v = 1 - w, m = w p + v q: the terms of KL(p || m) and KL(q || m)."""
    w = mp.mpf(weight)
    if not p:
        return (1 - w) * q * -mp.log1p(-w)
    if not q:
        return w * p * -mp.log(w)
    return w * p * _excess(mp, _log_mixture(mp, w, x)) + (1 - w) * q * _excess(mp, _log_mixture(mp, 1 - w, -x))


def skew_kl(mp, p, q, x, alpha):
    """The term of KL(p || m), m = alpha q + (1 - alpha) p."""
    a = mp.mpf(alpha)
    if not p:
        return a * q
    if not q and a == 1:
        return mp.inf
    return p * _excess(mp, _log_mixture(mp, 1 - a, x))


def total_variation(mp, p, q, x):
    return (p * abs(mp.expm1(x)) if p else q) / 2


def triangular(mp, p, q, x):
    """``(p - q)^2 / (p + q)``."""
    return p * mp.expm1(x) ** 2 / (1 + mp.exp(x)) if p else q


def squared_hellinger(mp, p, q, x):
    """``1/2 (sqrt p - sqrt q)^2``."""
    return (p * mp.expm1(x / 2) ** 2 if p else q) / 2


def chi2(mp, p, q, x):
    """``(p - q)^2 / q``."""
    if not q:
        return mp.inf
    return -p * mp.expm1(x) * mp.expm1(-x) if p else q


def neyman_chi2(mp, p, q, x):
    return chi2(mp, q, p, -x)


def tsallis(mp, p, q, x, alpha):
    """``[a p + (1 - a) q - p^a q^(1-a)] / (1 - a)``."""
    s = mp.mpf(alpha)
    return s * _power(mp, p, q, x, s)


def alpha_divergence(mp, p, q, x, alpha):
    """``[s p + (1 - s) q - p^s q^(1-s)] / (s (1 - s))``, s = (1 - alpha) / 2."""
    return _power(mp, p, q, x, (1 - mp.mpf(alpha)) / 2)


BY_NAME = {function.__name__: function for function in (
    kl, reverse_kl, jeffreys, itakura_saito, skew_js, skew_kl, total_variation, triangular, squared_hellinger, chi2,
    neyman_chi2, tsallis, alpha_divergence)} | {"generalized_kl": kl, "js": skew_js}


def of_rows(name):
    """The function (mp, p, q, domain, *parameters) that lists the terms of two rows."""
    term, make = BY_NAME[name], bins_as_they_are if name in AS_THEY_ARE else bins

    def terms(mp, p, q, domain, *parameters):
        return [term(mp, *bin, *parameters) if bin[0] or bin[1] else mp.zero for bin in make(mp, p, q, domain)]

    return terms


def bins(mp, p, q, domain) -> list:
    """(p_k, q_k, log(q_k / p_k)) of the normalised rows."""
    log_p, log_q = log_probs(mp, p, domain), log_probs(mp, q, domain)
    ratios = _log_ratios(mp, log_p, log_q, _exact(mp, p, q, domain))
    ratios = [mp.zero if equal else x for equal, x in zip(_equal_bins(p, q, domain), ratios)]
    return [(mp.exp(a), mp.exp(b), x) for a, b, x in zip(log_p, log_q, ratios)]


def bins_as_they_are(mp, p, q, domain) -> list:
    """(p_k, q_k, log(q_k / p_k)) of rows of weights."""
    both = [(mp.mpf(float(a)), mp.mpf(float(b))) for a, b in zip(p, q)]
    return [(a, b, _log_ratio(mp, a, b) if a and b else mp.inf if b else mp.ninf) for a, b in both]


def nothing(domain) -> float:
    """What stands for no mass."""
    return 0.0 if domain == "probs" else -float("inf")


def log_probs(mp, row, domain) -> list:
    """Logarithms of row / sum(row) or of softmax(row), -inf where there is no mass."""
    x = [mp.mpf(float(value)) for value in row]
    if domain == "probs":
        x = [mp.log(value) if value > 0 else mp.ninf for value in x]
    top = max(range(len(x)), key=x.__getitem__)
    rest = mp.fsum(mp.exp(value - x[top]) for k, value in enumerate(x) if k != top and value > mp.ninf)
    log_sum = mp.log1p(rest)  # over the largest weight: exact digits even where one bin has nearly everything
    return [(value - x[top]) - log_sum if value > mp.ninf else value for value in x]


def _log_ratios(mp, log_p, log_q, change) -> list:
    """``log(q_k / p_k)`` with a small relative error; `change(k, j)` is ``log(q_k / p_k) - log(q_j / p_j)``.

    Differences of log_p and log_q would lose those that are small beside them: of [1, 1, s] and [1, 1, 2 s] all
    three are of the order of s. So all are taken from one bin that both rows have, the heaviest, and of that bin
    q_top / p_top = 1 / (1 + excess) with excess = sum_k (q_k p_top / q_top - p_k), again a sum of changes.
    """
    common = [k for k, (a, b) in enumerate(zip(log_p, log_q)) if a > mp.ninf and b > mp.ninf]
    ratios = [mp.inf if a == mp.ninf else mp.ninf for a in log_p]
    if not common:
        return ratios
    top = max(common, key=lambda k: log_p[k] + log_q[k])
    changes = {k: change(k, top) for k in common}
    excess = mp.fsum(mp.exp(log_p[k]) * mp.expm1(changes[k]) if k in changes else
                     mp.exp(log_p[top] + log_q[k] - log_q[top]) - mp.exp(log_p[k]) for k in range(len(log_p)))
    of_top = -mp.log1p(excess) if abs(excess) < 0.5 else log_q[top] - log_p[top]
    for k in common:
        ratios[k] = changes[k] + of_top
    return ratios


def _exact(mp, p, q, domain):
    """The function `change` of _log_ratios, from the numbers as they are."""
    if domain == "probs":
        a, b = ([mp.mpf(float(value)) for value in row] for row in (p, q))
        return lambda k, j: _log_ratio(mp, a[k] * b[j], b[k] * a[j])  # products have 106 bits: no rounding

    def change(k, j):
        a_k, a_j, b_k, b_j = (Fraction(float(value)) for value in (p[k], p[j], q[k], q[j]))
        exact = (b_k - b_j) - (a_k - a_j)
        return mp.mpf(exact.numerator) / exact.denominator

    return change


def _equal_bins(p, q, domain) -> list[bool]:
    """Whether p_k = q_k after normalisation, exactly.

    Of logits: exponentials of distinct rationals are linearly independent over the rationals (Lindemann,
    Weierstrass), so e^a_k sum_j e^b_j = e^b_k sum_j e^a_j only if both sides have the same exponents.
    """
    none = nothing(domain)
    a, b = ([Fraction(float(value)) if value != none else None for value in row] for row in (p, q))
    if domain == "probs":
        a, b = ([value or 0 for value in row] for row in (a, b))
        sum_a, sum_b = sum(a), sum(b)
        return [x * sum_b == y * sum_a for x, y in zip(a, b)]
    sorted_a, sorted_b = (sorted(value for value in row if value is not None) for row in (a, b))
    shifts = {x - y for x, y in zip(sorted_a, sorted_b)}
    if len(sorted_a) != len(sorted_b) or len(shifts) > 1:
        return [x is None and y is None for x, y in zip(a, b)]
    return [x is y is None or None not in (x, y) and x - y in shifts for x, y in zip(a, b)]


def _log_ratio(mp, a, b):
    """``log(b / a)``, exact digits also where a and b are near."""
    return mp.log1p((b - a) / a) if abs(b - a) < a / 2 else mp.log(b / a)


def _excess(mp, x):
    """``e^x - 1 - x >= 0``."""
    return _power_series(mp, x, 0) if abs(x) < NEAR else mp.expm1(x) - x


def _log_mixture(mp, w, x):
    """``log(w + (1 - w) e^x)``: log(m / p) for m = w p + (1 - w) q."""
    change = (1 - w) * mp.expm1(x)
    return mp.log1p(change) if change > -0.5 else mp.log(w + (1 - w) * mp.exp(x))


def _power(mp, p, q, x, s):
    """``[s p + r q - p^s q^r] / (s r)``, r = 1 - s; the limit at s = 1 is the term of kl, at 0 of reverse_kl.

    Divided by p this is (e^x - 1 - (e^(r x) - 1) / r) / s, and the same with p, q and s, r exchanged: of the two,
    the one that divides by the larger of s and r has no small denominator left.
    """
    r = 1 - s
    if not p:
        return q / s if s > 0 else mp.inf
    if not q:
        return p / r if r > 0 else mp.inf
    if abs(x) * (1 + abs(r)) < NEAR:
        return p * _power_series(mp, x, r)
    if s >= r:
        return p * (mp.expm1(x) - _expm1_over(mp, r, x)) / s
    return q * (mp.expm1(-x) - _expm1_over(mp, s, -x)) / r


def _expm1_over(mp, r, x):
    """``(e^(r x) - 1) / r``, x at r = 0."""
    return mp.expm1(r * x) / r if r else x


def _power_series(mp, x, r):
    """``(e^x - 1 - (e^(r x) - 1) / r) / (1 - r) = sum_n x^n / n! (1 + r + ... + r^(n-2))``, from n = 2.

    It ends by the bound (1 + |r|)^(n-2) of the last factor, which itself may be 0 long before: at r = -1 for odd n.
    """
    total, power, geometric, n = mp.mpf(0), x * x / 2, mp.mpf(1), 2
    bound = power
    while abs(bound) > abs(total) * mp.eps:
        total, n = total + power * geometric, n + 1
        power, geometric, bound = power * x / n, 1 + r * geometric, bound * x * (1 + abs(r)) / n
    return total

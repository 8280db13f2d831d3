"""The divergences by their textbook formulas, which cancel, in as many digits as that takes.

They check klfast.reference, which sums nonnegative terms, and share no formula with it.
"""

from __future__ import annotations

from mpmath.ctx_mp import MPContext

# Beyond these digits (of values below 1e-12000, of logits of +-1e308) the check is not worth its time.
MOST_DIGITS = 12_000
SPARE = 100  # 40 digits of the value, 18 of a parameter near 1, and ample room for rounding


def textbook(name, p, q, domain, digits, *parameter):
    """The value in `digits` digits; inf where a zero makes it so."""
    mp = MPContext()
    mp.dps = digits
    weights = _as_they_are if name in ("generalized_kl", "itakura_saito") else _normalised
    pairs = list(zip(weights(mp, p, domain), weights(mp, q, domain)))
    return FORMULAS[name](mp, [(a, b) for a, b in pairs if a or b], *map(mp.mpf, parameter))


def digits_for(value, p, q) -> int | None:
    """Digits that textbook() needs for a value of this size; None where they are too many."""
    largest = max((abs(float(x)) for x in [*p, *q] if abs(x) < float("inf")), default=0.0)
    digits = SPARE + (_magnitude(largest) if largest > 1 else 0)
    if value and value < 1:
        digits += _magnitude(1 / value)
    return digits if digits < MOST_DIGITS else None


def _magnitude(x) -> int:
    """Decimal digits of a number above 1."""
    return (x.context.mag(x) if hasattr(x, "context") else len(bin(int(x)))) * 302 // 1000 + 1


def _normalised(mp, row, domain) -> list:
    x = [mp.mpf(float(value)) for value in row]
    if domain == "logits":
        top = max(x)
        x = [mp.exp(value - top) if value > mp.ninf else mp.zero for value in x]
    total = mp.fsum(x)
    return [value / total for value in x]


def _as_they_are(mp, row, domain) -> list:
    return [mp.mpf(float(value)) for value in row]


def _xlogy(mp, x, y):
    """``x log y``; 0 log 0 = 0."""
    return x * mp.log(y) if x else mp.zero


def _entropy(mp, row):
    return -mp.fsum(_xlogy(mp, a, a) for a in row)


def _kl(mp, pairs):
    if any(a and not b for a, b in pairs):
        return mp.inf
    return mp.fsum(_xlogy(mp, a, a) - _xlogy(mp, a, b) for a, b in pairs)


def _swapped(pairs):
    return [(b, a) for a, b in pairs]


def _power(mp, x, exponent):
    if x:
        return mp.exp(exponent * mp.log(x))
    return mp.zero if exponent > 0 else mp.one if exponent == 0 else mp.inf


def _power_sum(mp, pairs, s):
    """``sum p^s q^(1-s)``; a zero to a power below 0 gives inf."""
    powers = [(_power(mp, a, s), _power(mp, b, 1 - s)) for a, b in pairs]
    if any(mp.inf in pair for pair in powers):
        return mp.inf
    return mp.fsum(a * b for a, b in powers)


def _minus_log(mp, x):
    return -mp.log(x) if x else mp.inf


def _skew_js(mp, pairs, w):
    middle = _entropy(mp, [w * a + (1 - w) * b for a, b in pairs])
    return middle - w * _entropy(mp, [a for a, _ in pairs]) - (1 - w) * _entropy(mp, [b for _, b in pairs])


def _js(mp, pairs):
    return _skew_js(mp, pairs, mp.mpf(1) / 2)


def _skew_kl(mp, pairs, alpha):
    return _kl(mp, [(a, alpha * b + (1 - alpha) * a) for a, b in pairs])


def _total_variation(mp, pairs):
    return 1 - mp.fsum(min(pair) for pair in pairs)


def _triangular(mp, pairs):
    return 2 - 4 * mp.fsum(a * b / (a + b) for a, b in pairs)


def _affinity(mp, pairs):
    return mp.fsum(mp.sqrt(a * b) for a, b in pairs)


def _chi2(mp, pairs):
    if any(a and not b for a, b in pairs):
        return mp.inf
    return mp.fsum(a * a / b for a, b in pairs if b) - 1


def _tsallis(mp, pairs, alpha):
    return (_power_sum(mp, pairs, alpha) - 1) / (alpha - 1)


def _renyi(mp, pairs, alpha):
    return _minus_log(mp, _power_sum(mp, pairs, alpha)) / (1 - alpha)


def _alpha_divergence(mp, pairs, alpha):
    total = _power_sum(mp, pairs, (1 - alpha) / 2)
    return mp.inf if total == mp.inf else 4 / (1 - alpha * alpha) * (1 - total)


def _generalized_kl(mp, pairs):
    return _kl(mp, pairs) - mp.fsum(a for a, _ in pairs) + mp.fsum(b for _, b in pairs)


def _itakura_saito(mp, pairs):
    if not all(a and b for a, b in pairs):
        return mp.inf
    return mp.fsum(a / b for a, b in pairs) - mp.log(mp.fprod(a / b for a, b in pairs)) - len(pairs)


FORMULAS = {
    "kl": _kl,
    "reverse_kl": lambda mp, pairs: _kl(mp, _swapped(pairs)),
    "jeffreys": lambda mp, pairs: _kl(mp, pairs) + _kl(mp, _swapped(pairs)),
    "js": _js,
    "js_distance": lambda mp, pairs: mp.sqrt(abs(_js(mp, pairs))),
    "skew_js": _skew_js,
    "skew_kl": _skew_kl,
    "total_variation": _total_variation,
    "triangular": _triangular,
    "squared_hellinger": lambda mp, pairs: 1 - _affinity(mp, pairs),
    "hellinger": lambda mp, pairs: mp.sqrt(abs(1 - _affinity(mp, pairs))),
    "bhattacharyya": lambda mp, pairs: _minus_log(mp, _affinity(mp, pairs)),
    "chernoff": lambda mp, pairs, alpha: _minus_log(mp, _power_sum(mp, pairs, alpha)),
    "chi2": _chi2,
    "neyman_chi2": lambda mp, pairs: _chi2(mp, _swapped(pairs)),
    "tsallis": _tsallis,
    "renyi": _renyi,
    "alpha_divergence": _alpha_divergence,
    "generalized_kl": _generalized_kl,
    "itakura_saito": _itakura_saito,
}

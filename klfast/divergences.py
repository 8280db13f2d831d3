"""The table of divergences: names, formulas, properties, and what each asks of the engine.

Every divergence is a sum over bins of nonnegative terms, then a scalar finish. A row of the table says which terms
(`kind`, with its `number`), which finish, and which of the two arguments comes first; nothing else about a divergence
stands elsewhere in the Python code. The terms are in src_c/kernels/terms.h.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real

from . import _engine


@dataclass(frozen=True)
class Divergence:
    """One row of the table.

    Attributes
    ----------
    name, aliases : str, tuple of str
        The name and the other names it answers to.
    formula : str
        For rows p of P and q of Q, both normalised unless `measure`.
    symmetric, triangle_inequality : bool
        Whether D(p, q) = D(q, p), and whether D is a metric.
    upper_bound : float or None
        The largest value (nats), None if there is none.
    infinite : str
        When a value is infinite; empty: never.
    measure : bool
        Rows are compared as they are, not normalised.
    logarithmic : bool
        Whether values are in units of a logarithm, so that `base` applies.
    parameter : str
        What the number in the name is; empty: there is none.
    source : str
        Where it is defined.
    """

    name: str
    formula: str
    aliases: tuple[str, ...] = ()
    symmetric: bool = False
    upper_bound: float | None = None
    triangle_inequality: bool = False
    infinite: str = ""
    measure: bool = False
    logarithmic: bool = True
    parameter: str = ""
    source: str = ""
    # The engine's part: see kl_divergence in src_c/klfast.h.
    kind: str = field(default="kl", repr=False)
    number: float = field(default=0.0, repr=False)
    rest: float | None = field(default=None, repr=False)
    finish: str = field(default="linear", repr=False)
    scale: float = field(default=0.0, repr=False)
    factor: float = field(default=1.0, repr=False)
    swapped: bool = field(default=False, repr=False)  # the terms take q first
    adds_entropy: bool = field(default=False, repr=False)

    @cached_property
    def form(self) -> _engine.Form:
        return self.form_in(1.0)

    @property
    def weight(self) -> float:
        """What multiplies the engine's terms in `contributions`."""
        return abs(self.scale) if self.finish == "log" else self.factor

    def form_in(self, unit: float) -> _engine.Form:
        """What the engine computes, values times `unit` (before the square root, where there is one)."""
        return _engine.Form(self.kind, self.number, self.rest, self.finish, self.scale, self.factor * unit,
                            self.adds_entropy)


OUTSIDE = "p > 0 where q = 0"
APART = "one of p, q is 0 where the other is not"
DISJOINT = "p and q have no bin in common"
KULLBACK = "Kullback & Leibler, Ann. Math. Stat. 22 (1951)"
LIESE = "Liese & Vajda, Convex Statistical Distances (1987)"


def _power(s: float, t: float) -> dict:
    """C_s(p, q) = sum [s p + t q - p^s q^t] / (s t), t = 1 - s, for any s but 0 and 1; C_s(p, q) = C_t(q, p)."""
    return dict(kind="power", number=s, rest=t) if s >= t else dict(kind="power", number=t, rest=s, swapped=True)


TABLE = (
    Divergence(
        name="kl", aliases=("kullback_leibler", "kl_divergence", "relative_entropy"), infinite=OUTSIDE,
        formula="sum_k p_k log(p_k / q_k)", source=KULLBACK,
    ),
    Divergence(
        name="reverse_kl", infinite="q > 0 where p = 0",
        formula="sum_k q_k log(q_k / p_k)", swapped=True, source=KULLBACK,
    ),
    Divergence(
        name="cross_entropy", formula="-sum_k p_k log(q_k)", infinite=OUTSIDE, adds_entropy=True,
        source="Good, J. R. Stat. Soc. B 14 (1952)",
    ),
    Divergence(
        name="generalized_kl", aliases=("i_divergence",), measure=True, infinite=OUTSIDE,
        formula="sum_k p_k log(p_k / q_k) - p_k + q_k, rows as they are",
        source="Csiszar, Ann. Stat. 19 (1991)",
    ),
    Divergence(
        name="jeffreys", aliases=("psi", "population_stability_index", "symmetric_kl"), symmetric=True, infinite=APART,
        formula="sum_k (p_k - q_k) log(p_k / q_k)", kind="jeffreys", source="Jeffreys, Proc. R. Soc. A 186 (1946)",
    ),
    Divergence(
        name="js", aliases=("jensen_shannon", "jensen_shannon_divergence"), symmetric=True, upper_bound=math.log(2),
        formula="(KL(p, m) + KL(q, m)) / 2, m = (p + q) / 2", kind="skew_js", number=0.5,
        source="Lin, IEEE Trans. Inf. Theory 37 (1991)",
    ),
    Divergence(
        name="js_distance", aliases=("jensenshannon",), symmetric=True, upper_bound=math.sqrt(math.log(2)),
        triangle_inequality=True, formula="sqrt(js)", kind="skew_js", number=0.5, finish="sqrt",
        source="Endres & Schindelin, IEEE Trans. Inf. Theory 49 (2003); scipy.spatial.distance.jensenshannon",
    ),
    Divergence(
        name="bhattacharyya", symmetric=True, infinite=DISJOINT, formula="-log sum_k sqrt(p_k q_k)",
        kind="power", number=0.5, finish="log", scale=-0.25, factor=-1.0,
        source="Bhattacharyya, Bull. Calcutta Math. Soc. 35 (1943)",
    ),
    Divergence(
        name="squared_hellinger", symmetric=True, upper_bound=1.0, logarithmic=False,
        formula="1 - sum_k sqrt(p_k q_k) = sum_k (sqrt(p_k) - sqrt(q_k))^2 / 2", kind="power", number=0.5, factor=0.25,
        source="Hellinger, J. Reine Angew. Math. 136 (1909)",
    ),
    Divergence(
        name="hellinger", symmetric=True, upper_bound=1.0, triangle_inequality=True, logarithmic=False,
        formula="sqrt(squared_hellinger)", kind="power", number=0.5, finish="sqrt", factor=0.25,
        source="Hellinger, J. Reine Angew. Math. 136 (1909)",
    ),
    Divergence(
        name="chi2", aliases=("pearson_chi2",), infinite=OUTSIDE, logarithmic=False,
        formula="sum_k (p_k - q_k)^2 / q_k", kind="power", number=2.0, factor=2.0,
        source="Pearson, Phil. Mag. 50 (1900)",
    ),
    Divergence(
        name="neyman_chi2", infinite="q > 0 where p = 0", logarithmic=False,
        formula="sum_k (p_k - q_k)^2 / p_k", kind="power", number=2.0, factor=2.0, swapped=True,
        source="Neyman, Proc. First Berkeley Symp. (1949)",
    ),
    Divergence(
        name="total_variation", aliases=("tv",), symmetric=True, upper_bound=1.0, triangle_inequality=True,
        logarithmic=False, formula="sum_k |p_k - q_k| / 2", kind="variation", source=LIESE,
    ),
    Divergence(
        name="triangular", aliases=("vincze_le_cam", "triangular_discrimination"), symmetric=True, upper_bound=2.0,
        logarithmic=False, formula="sum_k (p_k - q_k)^2 / (p_k + q_k)", kind="triangular",
        source="Topsoe, IEEE Trans. Inf. Theory 46 (2000)",
    ),
    Divergence(
        name="itakura_saito", measure=True, infinite=APART, logarithmic=False,
        formula="sum_k p_k / q_k - log(p_k / q_k) - 1, rows as they are", kind="itakura_saito",
        source="Itakura & Saito, Proc. 6th Int. Congr. Acoustics (1968)",
    ),
)


def _number(name: str, value, low: float, high: float, what: str) -> float:
    if not isinstance(value, Real) or isinstance(value, bool) or not low < value < high or not math.isfinite(value):
        raise ValueError(f"{name} needs {what}; got {value!r}")
    return float(value)


def _limit(name: str, formula: str, parameter: str, of: str) -> Divergence:
    """KL under another name, where a parameter takes it there."""
    return replace(find(of), name=name, aliases=(), formula=f"{formula}; here {of}", parameter=parameter)


def Renyi(alpha) -> Divergence:
    """Renyi's divergence of order `alpha` > 0, ``log(sum_k p_k^alpha q_k^(1-alpha)) / (alpha - 1)``; 1 is KL.

    Nonnegative, increasing in alpha; infinite for alpha >= 1 if p > 0 where q = 0, for alpha < 1 if p and q are
    disjoint. alpha = 1/2 is twice `bhattacharyya`. Not symmetric (but for 1/2).

    Parameters
    ----------
    alpha : float

    Returns
    -------
    Divergence

    Raises
    ------
    ValueError
        alpha is not a positive finite number.

    References
    ----------
    Renyi, Proc. 4th Berkeley Symp. (1961); van Erven & Harremoes, IEEE Trans. Inf. Theory 60 (2014).
    """
    alpha = _number("Renyi", alpha, 0, math.inf, "an order above 0")
    name, formula = f"renyi({alpha})", "log(sum_k p_k^alpha q_k^(1-alpha)) / (alpha - 1)"
    if alpha == 1:
        return _limit(name, formula, "alpha", "kl")
    return Divergence(name, formula, parameter="alpha", symmetric=alpha == 0.5, finish="log",
                      infinite=OUTSIDE if alpha > 1 else DISJOINT, scale=-alpha * (1 - alpha), factor=1 / (alpha - 1),
                      source="Renyi, Proc. 4th Berkeley Symp. (1961)", **_power(alpha, 1 - alpha))


def Tsallis(alpha) -> Divergence:
    """Tsallis' relative entropy of order `alpha` > 0, ``(sum_k p_k^alpha q_k^(1-alpha) - 1) / (alpha - 1)``; 1 is KL.

    Between 0 and 1 / (1 - alpha) for alpha < 1; infinite for alpha >= 1 if p > 0 where q = 0. alpha = 2 is `chi2`.

    Parameters
    ----------
    alpha : float

    Returns
    -------
    Divergence

    Raises
    ------
    ValueError
        alpha is not a positive finite number.

    References
    ----------
    Tsallis, Phys. Rev. E 58 (1998).
    """
    alpha = _number("Tsallis", alpha, 0, math.inf, "an order above 0")
    name, formula = f"tsallis({alpha})", "(sum_k p_k^alpha q_k^(1-alpha) - 1) / (alpha - 1)"
    if alpha == 1:
        return _limit(name, formula, "alpha", "kl")
    return Divergence(name, formula, parameter="alpha", symmetric=alpha == 0.5, logarithmic=False, factor=alpha,
                      upper_bound=1 / (1 - alpha) if alpha < 1 else None, infinite=OUTSIDE if alpha > 1 else "",
                      source="Tsallis, Phys. Rev. E 58 (1998)", **_power(alpha, 1 - alpha))


def Alpha(alpha) -> Divergence:
    """Amari's alpha-divergence, ``4 / (1 - alpha^2) (1 - sum_k p_k^((1-alpha)/2) q_k^((1+alpha)/2))``, any real alpha.

    alpha = -1 is KL(p, q), 1 is KL(q, p), 0 four times `squared_hellinger`, -3 half of `chi2`. Between 0 and
    4 / (1 - alpha^2) for -1 < alpha < 1; infinite where an empty bin meets a negative exponent.

    Parameters
    ----------
    alpha : float

    Returns
    -------
    Divergence

    Raises
    ------
    ValueError
        alpha is not a finite number.

    References
    ----------
    Amari, Differential-Geometrical Methods in Statistics (1985); Cichocki & Amari, Entropy 12 (2010).
    """
    alpha = _number("Alpha", alpha, -math.inf, math.inf, "a finite number")
    name = f"alpha({alpha})"
    formula = "4 / (1 - alpha^2) (1 - sum_k p_k^((1-alpha)/2) q_k^((1+alpha)/2))"
    if abs(alpha) == 1:
        return _limit(name, formula, "alpha", "kl" if alpha == -1 else "reverse_kl")
    s = (1 - alpha) / 2
    return Divergence(name, formula, parameter="alpha", symmetric=alpha == 0, logarithmic=False,
                      upper_bound=4 / (1 - alpha * alpha) if abs(alpha) < 1 else None,
                      infinite=OUTSIDE if s > 1 else "q > 0 where p = 0" if s < 0 else "",
                      source="Amari, Differential-Geometrical Methods in Statistics (1985)",
                      **_power(s, (1 + alpha) / 2))


def Chernoff(alpha) -> Divergence:
    """Chernoff's coefficient ``-log sum_k p_k^alpha q_k^(1-alpha)``, 0 < alpha < 1; 1/2 is `bhattacharyya`.

    Nonnegative, infinite if p and q are disjoint.

    Parameters
    ----------
    alpha : float

    Returns
    -------
    Divergence

    Raises
    ------
    ValueError
        alpha does not lie between 0 and 1.

    References
    ----------
    Chernoff, Ann. Math. Stat. 23 (1952).
    """
    alpha = _number("Chernoff", alpha, 0, 1, "a number between 0 and 1")
    return Divergence(f"chernoff({alpha})", "-log sum_k p_k^alpha q_k^(1-alpha)", parameter="alpha",
                      symmetric=alpha == 0.5, infinite=DISJOINT, finish="log", scale=-alpha * (1 - alpha), factor=-1.0,
                      source="Chernoff, Ann. Math. Stat. 23 (1952)", **_power(alpha, 1 - alpha))


def SkewKL(alpha) -> Divergence:
    """KL to a mixture, ``KL(p, alpha q + (1 - alpha) p)``, 0 < alpha <= 1; 1 is KL.

    At most ``-log(1 - alpha)``, hence never infinite for alpha < 1: KL that zeros do not spoil.

    Parameters
    ----------
    alpha : float

    Returns
    -------
    Divergence

    Raises
    ------
    ValueError
        alpha does not lie in (0, 1].

    References
    ----------
    Lee, "Measures of Distributional Similarity", ACL (1999).
    """
    formula = "KL(p, alpha q + (1 - alpha) p)"
    if alpha == 1 and not isinstance(alpha, bool):
        return _limit("skew_kl(1.0)", formula, "alpha", "kl")
    alpha = _number("SkewKL", alpha, 0, 1, "a number above 0, up to 1")
    return Divergence(f"skew_kl({alpha})", formula, parameter="alpha", upper_bound=-math.log1p(-alpha),
                      kind="skew_kl", number=alpha, source="Lee, ACL (1999)")


def SkewJS(weight) -> Divergence:
    """Jensen-Shannon with weights, ``w KL(p, m) + (1 - w) KL(q, m)``, m = w p + (1 - w) q; 1/2 is `js`.

    At most the entropy of (w, 1 - w).

    Parameters
    ----------
    weight : float
        w, the weight of p, between 0 and 1.

    Returns
    -------
    Divergence

    Raises
    ------
    ValueError
        weight does not lie between 0 and 1.

    References
    ----------
    Lin, IEEE Trans. Inf. Theory 37 (1991).
    """
    w = _number("SkewJS", weight, 0, 1, "a number between 0 and 1")
    return Divergence(f"skew_js({w})", "w KL(p, m) + (1 - w) KL(q, m), m = w p + (1 - w) q", parameter="weight",
                      symmetric=w == 0.5, upper_bound=-w * math.log(w) - (1 - w) * math.log1p(-w), kind="skew_js",
                      number=w, source="Lin, IEEE Trans. Inf. Theory 37 (1991)")


FAMILIES = {"renyi": Renyi, "tsallis": Tsallis, "alpha": Alpha, "chernoff": Chernoff, "skew_kl": SkewKL,
            "skew_js": SkewJS}


def divergences() -> list[Divergence]:
    """The divergences that klfast computes, with their properties.

    Those with a parameter come from `Renyi`, `Tsallis`, `Alpha`, `Chernoff`, `SkewKL` and `SkewJS`, or from a string
    such as ``"renyi:0.5"``; one of each stands at the end of the list.

    Returns
    -------
    list of Divergence
        In the order of the documentation; see `Divergence` for the fields.
    """
    return [*TABLE, Renyi(2.0), Tsallis(0.5), Alpha(0.5), Chernoff(0.3), SkewKL(0.99), SkewJS(0.3)]


def find(name: str | Divergence) -> Divergence:
    """The divergence of this name or alias, or "family:number"; ValueError lists the names there are."""
    if isinstance(name, Divergence):
        return name
    for divergence in TABLE:
        if name == divergence.name or name in divergence.aliases:
            return divergence
    parts = re.fullmatch(r"(\w+)(?::(.*)|\((.*)\))", str(name))
    if parts and parts[1] in FAMILIES:
        family, number = parts[1], parts[2] if parts[3] is None else parts[3]
        try:
            value = float(number)
        except ValueError:
            raise ValueError(f"{name!r}: {number!r} is not a number") from None
        return FAMILIES[family](value)
    known = ", ".join([d.name for d in TABLE] + [f"{family}:NUMBER" for family in FAMILIES])
    raise ValueError(f"unknown divergence {name!r}; klfast has: {known}")

"""The table of divergences: names, formulas, properties, and what each asks of the engine.

A divergence on this table is *bilinear*: one operand enters through its mean parameters, the other
through its natural ones, and the value is an inner product plus an offset for the row and one for
the column. A row of the table says which is which; nothing else about a divergence stands elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Divergence:
    """One row of the table.

    Attributes
    ----------
    name, aliases : str, tuple of str
        The name and the other names it answers to.
    formula : str
        For rows p of P and q of Q, both normalised.
    symmetric, triangle_inequality : bool
        Whether D(p, q) = D(q, p), and whether D is a metric.
    upper_bound : float or None
        The largest value, None if there is none.
    p_is_mean : bool
        Engine: P enters by its mean parameters (KL of P to Q), else Q does (KL of Q to P).
    adds_entropy : bool
        Engine: the entropy of p is added to the value.
    source : str
        Where it is defined.
    """

    name: str
    formula: str
    aliases: tuple[str, ...] = ()
    symmetric: bool = False
    upper_bound: float | None = None
    triangle_inequality: bool = False
    p_is_mean: bool = True
    adds_entropy: bool = False
    source: str = ""


TABLE = (
    Divergence(
        name="kl",
        aliases=("kullback_leibler", "kl_divergence", "relative_entropy"),
        formula="sum_k p_k log(p_k / q_k)",
        source="Kullback & Leibler, Ann. Math. Stat. 22 (1951)",
    ),
    Divergence(
        name="reverse_kl",
        formula="sum_k q_k log(q_k / p_k)",
        p_is_mean=False,
        source="Kullback & Leibler, Ann. Math. Stat. 22 (1951)",
    ),
    Divergence(
        name="cross_entropy",
        formula="-sum_k p_k log(q_k)",
        adds_entropy=True,
        source="Good, J. R. Stat. Soc. B 14 (1952)",
    ),
)


def divergences() -> list[Divergence]:
    """The divergences that klfast computes, with their properties.

    Returns
    -------
    list of Divergence
        In the order of the documentation; see `Divergence` for the fields.
    """
    return list(TABLE)


def find(name: str | Divergence) -> Divergence:
    """The divergence of this name or alias; ValueError lists the names there are."""
    if isinstance(name, Divergence):
        return name
    for divergence in TABLE:
        if name == divergence.name or name in divergence.aliases:
            return divergence
    known = ", ".join(d.name for d in TABLE)
    raise ValueError(f"unknown divergence {name!r}; klfast has: {known}")

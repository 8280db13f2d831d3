"""The divergences by the names that the tests go through, and what the specification calls them."""

from __future__ import annotations

from functools import partial

from klfast import reference
from klfast.divergences import TABLE, Divergence, find

# Orders on either side of what changes the terms: power below and above 1, near it, with its cheap numbers 1/2 and 2.
NUMBERED = ["renyi:0.5", "renyi:0.999", "renyi:2", "renyi:7", "tsallis:0.25", "tsallis:1.5", "alpha:0.3", "alpha:-3",
            "alpha:4", "chernoff:0.1", "skew_kl:0.5", "skew_kl:0.99", "skew_js:0.2"]
PLAIN = [d.name for d in TABLE if not d.measure]
MEASURES = [d.name for d in TABLE if d.measure]
ALL = [*PLAIN, *MEASURES, *NUMBERED]
NORMALISED = [*PLAIN, *NUMBERED]
# One of each shape of tile and of each finish and role: where more would tell nothing new.
FEW = ["kl", "neyman_chi2", "jeffreys", "js_distance", "bhattacharyya", "total_variation", "triangular",
       "generalized_kl", "itakura_saito", "renyi:2", "tsallis:0.25", "skew_kl:0.5"]
# Sums over bins, and what is a sum over bins but for its finish.
SUMS = [name for name in ALL if find(name).finish == "linear" and name != "cross_entropy"]

IN_REFERENCE = {"alpha": "alpha_divergence"}


def parts(name: str):
    """("renyi", {"alpha": 0.5}) of "renyi:0.5", as the specification has them."""
    family, _, number = name.partition(":")
    family = IN_REFERENCE.get(family, family)
    return family, {reference.PARAMETERS[family]: float(number)} if number else {}


def specification(name: str):
    """The slow function (p, q, domain="probs") of this divergence."""
    family, parameters = parts(name)
    return partial(reference.VALUES[family], **parameters)


def takes(divergence: str | Divergence, logits: bool) -> bool:
    """Whether it accepts rows of logits, where they are."""
    return not (logits and find(divergence).measure)

"""Families of distributions: parameters and their validation, one file a family."""

from .categorical import Categorical

__all__ = ["Categorical", "as_distribution"]


def as_distribution(x):
    """x if it is a Categorical, the rows of parameters of a parametric family, else Categorical(probs=x)."""
    return x if isinstance(x, Categorical) else Categorical(probs=x)

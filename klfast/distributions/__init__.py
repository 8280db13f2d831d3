"""Families of distributions: parameters and their validation, one file a family."""

from .categorical import Categorical, as_distribution

__all__ = ["Categorical", "as_distribution"]

"""Families with a location and a scale: Laplace, Gumbel, Cauchy; and Uniform."""

from __future__ import annotations

import numpy as np

from .family import POSITIVE, REAL, Family


class Laplace(Family):
    r"""Laplace distributions, of density exp(-\|x - m\|/b)/2b.

    .. math:: KL(P\|Q) = \log(b_q/b_p) + (b_p e^{-\Delta/b_p} + \Delta)/b_q - 1, \quad \Delta = |m_p - m_q|

    Parameters
    ----------
    loc, scale : array-like
        m and b > 0. Rows of one location are an exponential family; others are compared pair by pair. Renyi's
        divergence and its relatives have a closed form for any two.
    event_ndim : {0, 1}
        1: the last axis holds independent coordinates.
    """

    family = "laplace"
    domains = {"loc": REAL, "scale": POSITIVE}

    def __init__(self, loc, scale, *, event_ndim=0):
        super().__init__(event_ndim=event_ndim, loc=loc, scale=scale)


class Gumbel(Family):
    r"""Gumbel distributions (of maxima), of distribution function exp(-exp(-(x - m)/b)).

    .. math:: KL(P\|Q) = -\log r + \gamma (r - 1) + e^{(m_q - m_p)/b_q} \Gamma(r + 1) - 1 + (m_p - m_q)/b_q,
              \quad r = b_p/b_q

    Parameters
    ----------
    loc, scale : array-like
        m and b > 0.
    event_ndim : {0, 1}
        1: the last axis holds independent coordinates.
    """

    family = "gumbel"
    common_in_powers = "scale"
    domains = {"loc": REAL, "scale": POSITIVE}

    def __init__(self, loc, scale, *, event_ndim=0):
        super().__init__(event_ndim=event_ndim, loc=loc, scale=scale)


class Cauchy(Family):
    r"""Cauchy distributions; their divergence is symmetric.

    .. math:: KL(P\|Q) = \log\frac{(s_p + s_q)^2 + (m_p - m_q)^2}{4 s_p s_q}

    Parameters
    ----------
    loc, scale : array-like
        Median m and half width at half maximum s > 0.
    event_ndim : {0, 1}
        1: the last axis holds independent coordinates.

    References
    ----------
    Chyzak and Nielsen, *A closed-form formula for the Kullback-Leibler divergence between Cauchy distributions*,
    arXiv:1905.10965.
    """

    family = "cauchy"
    powers = False
    domains = {"loc": REAL, "scale": POSITIVE}

    def __init__(self, loc, scale, *, event_ndim=0):
        super().__init__(event_ndim=event_ndim, loc=loc, scale=scale)


class Uniform(Family):
    r"""Uniform distributions on intervals.

    .. math:: KL(P\|Q) = \log\frac{high_q - low_q}{high_p - low_p}

    if P's interval lies in Q's, else inf.

    Parameters
    ----------
    low, high : array-like
        Ends, low < high.
    event_ndim : {0, 1}
        1: the last axis holds independent coordinates (boxes).
    """

    family = "uniform"
    domains = {"low": REAL, "high": REAL}

    def __init__(self, low, high, *, event_ndim=0):
        super().__init__(event_ndim=event_ndim, low=low, high=high)
        low, high = np.broadcast_arrays(self.values["low"], self.values["high"])
        if not (low < high).all():
            where = tuple(int(k) for k in np.argwhere(~(low < high))[0])
            at = f"at {list(where)} they" if where else "they"
            raise ValueError(f"Uniform: low must be below high; {at} are {low[where]:g} and {high[where]:g}")

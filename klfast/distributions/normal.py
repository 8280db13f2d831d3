"""Normal, DiagNormal, LogNormal, HalfNormal, Rayleigh and MultivariateNormal."""

from __future__ import annotations

import numpy as np

from .family import POSITIVE, REAL, Family, broadcast_shapes, checked, lower_triangle, one_of


class Normal(Family):
    r"""Normal distributions, one number each, or with ``event_ndim=1`` of independent coordinates.

    .. math:: p(x) = \exp(-(x - m)^2 / 2\sigma^2) / (\sigma\sqrt{2\pi})

    .. math:: KL(P\|Q) = \log(\sigma_q/\sigma_p) + (\sigma_p^2 + (m_p - m_q)^2)/2\sigma_q^2 - 1/2

    Parameters
    ----------
    loc, scale : array-like
        Mean m and standard deviation sigma > 0. They broadcast.
    event_ndim : {0, 1}
        1: the last axis holds the coordinates of one distribution with diagonal covariance, and divergences are summed
        over it.

    Raises
    ------
    ValueError
        A parameter is not finite, or a scale is not positive; the message says where.

    Notes
    -----
    The closed form is evaluated from the differences ``m_p - m_q`` and ``sigma_p - sigma_q``, so that it is accurate
    for near distributions and for means far larger than the scale. Source of the form: Kullback, *Information
    Theory and Statistics* (1959), ch. 9.
    """

    family = "normal"
    domains = {"loc": REAL, "scale": POSITIVE}

    def __init__(self, loc, scale, *, event_ndim=0):
        super().__init__(event_ndim=event_ndim, loc=loc, scale=scale)


class DiagNormal(Normal):
    """Normal distributions with diagonal covariance: ``Normal(loc, scale, event_ndim=1)``.

    Parameters
    ----------
    loc, scale : array-like (..., d)
        Means and standard deviations of the d coordinates.
    """

    def __init__(self, loc, scale):
        super().__init__(loc, scale, event_ndim=1)


class LogNormal(Family):
    """Log-normal distributions: log x is Normal(loc, scale), and divergences are those of the normal distributions.

    Parameters
    ----------
    loc, scale : array-like
        Mean and standard deviation > 0 of log x.
    event_ndim : {0, 1}
        1: the last axis holds independent coordinates.
    """

    family = "log_normal"
    domains = {"loc": REAL, "scale": POSITIVE}

    def __init__(self, loc, scale, *, event_ndim=0):
        super().__init__(event_ndim=event_ndim, loc=loc, scale=scale)


class HalfNormal(Family):
    r"""Half-normal distributions, those of \|x\| for x from Normal(0, scale).

    .. math:: KL(P\|Q) = (s - 1 - \log s)/2, \quad s = \sigma_p^2/\sigma_q^2

    Parameters
    ----------
    scale : array-like
        sigma > 0.
    event_ndim : {0, 1}
        1: the last axis holds independent coordinates.
    """

    family = "half_normal"
    domains = {"scale": POSITIVE}

    def __init__(self, scale, *, event_ndim=0):
        super().__init__(event_ndim=event_ndim, scale=scale)


class Rayleigh(Family):
    r"""Rayleigh distributions, of density x/sigma^2 exp(-x^2/2 sigma^2).

    .. math:: KL(P\|Q) = s - 1 - \log s, \quad s = \sigma_p^2/\sigma_q^2

    Parameters
    ----------
    scale : array-like
        sigma > 0.
    event_ndim : {0, 1}
        1: the last axis holds independent coordinates.
    """

    family = "rayleigh"
    domains = {"scale": POSITIVE}

    def __init__(self, scale, *, event_ndim=0):
        super().__init__(event_ndim=event_ndim, scale=scale)


class MultivariateNormal(Family):
    r"""Normal distributions over R^d with any covariance, given in exactly one of three ways.

    .. math:: KL(P\|Q) = (tr(\Sigma_q^{-1}\Sigma_p) + (m_p - m_q)^T \Sigma_q^{-1} (m_p - m_q) - d
              + \log|\Sigma_q| - \log|\Sigma_p|)/2

    Parameters
    ----------
    loc : array-like (..., d)
        Means.
    covariance_matrix : array-like (..., d, d)
        Symmetric, positive definite.
    precision_matrix : array-like (..., d, d)
        Its inverse.
    scale_tril : array-like (..., d, d)
        Its lower Cholesky factor, with a positive diagonal. Values are exact for these numbers; the other two
        are factorised first, which has the error of a Cholesky factorisation.

    Raises
    ------
    ValueError
        Not exactly one matrix; not square, symmetric or positive definite; shapes that do not fit.

    Notes
    -----
    Evaluated as ``sum_k psi(M_kk) + |M - I|^2/2 + |L_q^-1 (m_p - m_q)|^2/2``, ``psi(s) = s - 1 - log s``, ``M = L_q^-1
    L_p``, where ``M - I`` is solved from ``L_p - L_q`` in twice the precision: no covariance is inverted, nothing cancels,
    and the condition of a covariance costs no digits.
    """

    family = "multivariate_normal"
    own_axes = {"scale_tril": 2}

    def __init__(self, loc, covariance_matrix=None, precision_matrix=None, scale_tril=None):
        name, matrix = one_of("MultivariateNormal", {"covariance_matrix": covariance_matrix,
                                                     "precision_matrix": precision_matrix, "scale_tril": scale_tril})
        loc = checked("MultivariateNormal", "loc", loc, REAL)
        L = lower_triangle("MultivariateNormal", name, matrix, "add a small multiple of the identity if it is singular")
        if loc.ndim == 0 or loc.shape[-1] != L.shape[-1]:
            raise ValueError(f"MultivariateNormal: loc of shape {loc.shape} does not fit {name} of shape {L.shape}; "
                             f"the last axis of loc must have {L.shape[-1]} numbers")
        self.event_ndim, self.single = 1, False
        self.values = {"loc": loc, "scale_tril": L}
        self.event_shape = loc.shape[-1:]
        self.batch_shape = broadcast_shapes("MultivariateNormal", {"loc": loc.shape[:-1], name: L.shape[:-2]})

    def parts(self) -> tuple[np.ndarray, ...]:
        L = self.values["scale_tril"]
        return np.broadcast_to(self.values["loc"], self.shape), np.broadcast_to(L, self.batch_shape + L.shape[-2:])

    @property
    def covariance_matrix(self) -> np.ndarray:
        L = self.values["scale_tril"]
        return L @ np.swapaxes(L, -1, -2)

"""Directions: VonMises on the circle, VonMisesFisher on the sphere."""

from __future__ import annotations

import numpy as np

from .family import NONNEGATIVE, REAL, Family, broadcast_shapes, checked

UNIT_TOLERANCE = 1e-6  # of the norm of a direction


class VonMises(Family):
    r"""Von Mises distributions of angles, of density proportional to exp(kappa cos(x - m)).

    .. math:: KL(P\|Q) = \log\frac{I_0(\kappa_q)}{I_0(\kappa_p)} + \frac{I_1(\kappa_p)}{I_0(\kappa_p)}
              (\kappa_p - \kappa_q \cos(m_p - m_q))

    Parameters
    ----------
    loc, concentration : array-like
        Direction m in radians, and kappa >= 0 (0 is uniform; `loc` is then 0, whatever was given).
    event_ndim : {0, 1}
        1: the last axis holds independent angles.
    """

    family = "von_mises"
    domains = {"loc": REAL, "concentration": NONNEGATIVE}

    def __init__(self, loc, concentration, *, event_ndim=0):
        super().__init__(event_ndim=event_ndim, loc=loc, concentration=concentration)
        uniform = self.values["concentration"] == 0
        if uniform.any():
            self.values["loc"] = np.where(uniform, 0.0, self.values["loc"])


class VonMisesFisher(Family):
    r"""Von Mises-Fisher distributions of unit vectors in R^d, of density proportional to exp(kappa mu . x).

    .. math:: KL(P\|Q) = g(\kappa_q) - g(\kappa_p) + A(\kappa_p)(\kappa_p - \kappa_q \mu_p \cdot \mu_q),
              \quad g(\kappa) = \log I_\nu(\kappa) - \nu \log\kappa, \; A = g', \; \nu = d/2 - 1

    Parameters
    ----------
    loc : array-like (..., d)
        Directions mu, of norm 1 within 1e-6; values are those of the exactly normalised vectors. d >= 2.
    concentration : array-like (...)
        kappa >= 0 (0 is uniform).
    """

    family = "von_mises_fisher"
    own_axes = {"concentration": 0}

    def __init__(self, loc, concentration):
        loc = checked("VonMisesFisher", "loc", loc, REAL)
        concentration = checked("VonMisesFisher", "concentration", concentration, NONNEGATIVE)
        if loc.ndim == 0 or loc.shape[-1] < 2:
            raise ValueError(f"VonMisesFisher: loc must have at least two numbers in its last axis; got shape "
                             f"{loc.shape}")
        norm = np.linalg.norm(loc, axis=-1)
        if not (np.abs(norm - 1) <= UNIT_TOLERANCE).all():
            where = np.argwhere(np.abs(norm - 1) > UNIT_TOLERANCE)[0].tolist()
            raise ValueError(f"VonMisesFisher: loc{where if where else ''} has norm {norm[tuple(where)]:g}; divide "
                             f"each direction by its norm")
        self.event_ndim, self.single = 1, False
        self.values = {"loc": loc, "concentration": concentration}
        self.event_shape = loc.shape[-1:]
        self.batch_shape = broadcast_shapes("VonMisesFisher", {"loc (without its last axis)": loc.shape[:-1],
                                                               "concentration": concentration.shape})

    def parts(self) -> tuple[np.ndarray, ...]:
        concentration = np.broadcast_to(self.values["concentration"], self.batch_shape)
        return np.broadcast_to(self.values["loc"], self.shape), concentration[..., None]

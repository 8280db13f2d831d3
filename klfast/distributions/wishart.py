"""Wishart: distributions of covariance matrices."""

from __future__ import annotations

import numpy as np

from .family import REAL, Family, broadcast_shapes, checked, complain, lower_triangle, one_of


class Wishart(Family):
    r"""Wishart distributions, of sums of n outer products of vectors from MultivariateNormal(0, V).

    .. math:: KL(P\|Q) = \log\Gamma_d(n_q/2) - \log\Gamma_d(n_p/2) + (n_p - n_q) \psi_d(n_p/2)/2
              + n_p (tr(V_q^{-1} V_p) - d)/2 + n_q (\log|V_q| - \log|V_p|)/2

    Parameters
    ----------
    df : array-like
        Degrees of freedom n > d - 1.
    covariance_matrix, precision_matrix, scale_tril : array-like (..., d, d)
        Exactly one: V, its inverse, or its lower Cholesky factor, as in torch.distributions.
    """

    family = "wishart"
    own_axes = {"df": 0}

    def __init__(self, df, covariance_matrix=None, precision_matrix=None, scale_tril=None):
        name, matrix = one_of("Wishart", {"covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix,
                                          "scale_tril": scale_tril})
        df = checked("Wishart", "df", df, REAL)
        L = lower_triangle("Wishart", name, matrix, "add a small multiple of the identity if it is singular")
        d = L.shape[-1]
        if not (df > d - 1).all():
            complain("Wishart", "df", df, df > d - 1, f"above the dimension less 1, {d - 1}")
        self.event_ndim, self.single = 2, False
        self.values = {"df": df, "scale_tril": L}
        self.event_shape = L.shape[-2:]
        self.batch_shape = broadcast_shapes("Wishart", {"df": df.shape, name: L.shape[:-2]})

    def parts(self) -> tuple[np.ndarray, ...]:
        L = self.values["scale_tril"]
        df = np.broadcast_to(self.values["df"], self.batch_shape)
        return df[..., None], np.broadcast_to(L, self.batch_shape + L.shape[-2:])

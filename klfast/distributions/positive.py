"""Distributions of positive numbers: Exponential, Gamma, InverseGamma, Chi2, InverseGaussian, Pareto, Weibull."""

from __future__ import annotations

from .family import POSITIVE, Family


class Exponential(Family):
    r"""Exponential distributions.

    .. math:: KL(P\|Q) = s - 1 - \log s, \quad s = \lambda_q/\lambda_p

    Parameters
    ----------
    rate : array-like
        lambda > 0, one over the mean.
    event_ndim : {0, 1}
        1: the last axis holds independent coordinates.
    """

    family = "exponential"
    domains = {"rate": POSITIVE}

    def __init__(self, rate, *, event_ndim=0):
        super().__init__(event_ndim=event_ndim, rate=rate)


class Gamma(Family):
    r"""Gamma distributions.

    .. math:: p(x) = b^a x^{a-1} e^{-bx}/\Gamma(a)

    .. math:: KL(P\|Q) = (a_p - a_q)\psi(a_p) - \log\Gamma(a_p) + \log\Gamma(a_q) + a_q \log(b_p/b_q)
              + a_p (b_q - b_p)/b_p

    Parameters
    ----------
    concentration, rate : array-like
        Shape a > 0 and rate b > 0 (one over scipy's scale).
    event_ndim : {0, 1}
        1: the last axis holds independent coordinates.

    Notes
    -----
    Evaluated as ``a_q psi(m_p/m_q) + B_h(a_q, a_p)``, ``psi(s) = s - 1 - log s``, of the means m = a/b and the Bregman
    divergence of ``h(z) = log Gamma(z) - z log z + z``: both are never negative, and neither calls log Gamma.
    """

    family = "gamma"
    domains = {"concentration": POSITIVE, "rate": POSITIVE}

    def __init__(self, concentration, rate, *, event_ndim=0):
        super().__init__(event_ndim=event_ndim, concentration=concentration, rate=rate)


class InverseGamma(Family):
    """Inverse gamma distributions: 1/x is Gamma(concentration, rate), and divergences are those of the latter.

    Parameters
    ----------
    concentration, rate : array-like
        Shape a > 0; b > 0 (scipy's scale).
    event_ndim : {0, 1}
        1: the last axis holds independent coordinates.
    """

    family = "inverse_gamma"
    domains = {"concentration": POSITIVE, "rate": POSITIVE}

    def __init__(self, concentration, rate, *, event_ndim=0):
        super().__init__(event_ndim=event_ndim, concentration=concentration, rate=rate)


class Chi2(Family):
    """Chi-squared distributions: Gamma(df/2, 1/2).

    Parameters
    ----------
    df : array-like
        Degrees of freedom > 0.
    event_ndim : {0, 1}
        1: the last axis holds independent coordinates.
    """

    family = "chi2"
    domains = {"df": POSITIVE}

    def __init__(self, df, *, event_ndim=0):
        super().__init__(event_ndim=event_ndim, df=df)


class InverseGaussian(Family):
    r"""Inverse Gaussian (Wald) distributions.

    .. math:: p(x) = \sqrt{\lambda/2\pi x^3} \exp(-\lambda (x - m)^2/2m^2x)

    .. math:: KL(P\|Q) = (s - 1 - \log s)/2 + \lambda_q (m_p - m_q)^2/2 m_q^2 m_p, \quad s = \lambda_q/\lambda_p

    Parameters
    ----------
    loc, concentration : array-like
        Mean m > 0 and shape lambda > 0, as in TensorFlow Probability; scipy.stats.invgauss(mu, scale=s) is
        ``InverseGaussian(mu * s, s)``.
    event_ndim : {0, 1}
        1: the last axis holds independent coordinates.
    """

    family = "inverse_gaussian"
    domains = {"loc": POSITIVE, "concentration": POSITIVE}

    def __init__(self, loc, concentration, *, event_ndim=0):
        super().__init__(event_ndim=event_ndim, loc=loc, concentration=concentration)


class Pareto(Family):
    r"""Pareto distributions, of density a x_m^a x^(-a-1) from x_m on.

    .. math:: KL(P\|Q) = a_q \log(x_p/x_q) + s - 1 - \log s, \quad s = a_q/a_p

    and inf where P begins below Q (``x_p < x_q``).

    Parameters
    ----------
    scale, alpha : array-like
        Where it begins, x_m > 0, and the exponent a > 0.
    event_ndim : {0, 1}
        1: the last axis holds independent coordinates.
    """

    family = "pareto"
    domains = {"scale": POSITIVE, "alpha": POSITIVE}

    def __init__(self, scale, alpha, *, event_ndim=0):
        super().__init__(event_ndim=event_ndim, scale=scale, alpha=alpha)


class Weibull(Family):
    r"""Weibull distributions, of density (k/s) (x/s)^(k-1) exp(-(x/s)^k).

    .. math:: KL(P\|Q) = \log(k_p/s_p^{k_p}) - \log(k_q/s_q^{k_q}) + (k_p - k_q)(\log s_p - \gamma/k_p)
              + (s_p/s_q)^{k_q} \Gamma(k_q/k_p + 1) - 1

    Parameters
    ----------
    scale, concentration : array-like
        s > 0 and shape k > 0. Rows of one shape are an exponential family; others are compared pair by pair.
    event_ndim : {0, 1}
        1: the last axis holds independent coordinates.

    References
    ----------
    Bauckhage, *Computing the Kullback-Leibler divergence between two Weibull distributions*, arXiv:1310.3713.
    """

    family = "weibull"
    common_in_powers = "concentration"
    domains = {"scale": POSITIVE, "concentration": POSITIVE}

    def __init__(self, scale, concentration, *, event_ndim=0):
        super().__init__(event_ndim=event_ndim, scale=scale, concentration=concentration)

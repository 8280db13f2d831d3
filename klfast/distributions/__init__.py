"""Families of distributions: parameters and their validation, one file a family or a few close relatives."""

from .categorical import Categorical
from .counts import Bernoulli, Binomial, Geometric, NegativeBinomial, Poisson
from .directions import VonMises, VonMisesFisher
from .family import Family, comparable
from .location import Cauchy, Gumbel, Laplace, Uniform
from .normal import DiagNormal, HalfNormal, LogNormal, MultivariateNormal, Normal, Rayleigh
from .parametric import Parameters
from .positive import Chi2, Exponential, Gamma, InverseGamma, InverseGaussian, Pareto, Weibull
from .simplex import Beta, Dirichlet
from .wishart import Wishart

FAMILIES = (
    Bernoulli, Beta, Binomial, Cauchy, Chi2, DiagNormal, Dirichlet, Exponential, Gamma, Geometric, Gumbel, HalfNormal,
    InverseGamma, InverseGaussian, Laplace, LogNormal, MultivariateNormal, NegativeBinomial, Normal, Pareto, Poisson,
    Rayleigh, Uniform, VonMises, VonMisesFisher, Weibull, Wishart,
)

__all__ = ["Categorical", "FAMILIES", "Family", "Parameters", "as_distribution", "as_pair", "comparable",
           *(family.__name__ for family in FAMILIES)]


def as_distribution(x):
    """x if it is a Categorical, the rows of parameters of a parametric family, else Categorical(probs=x)."""
    if isinstance(x, Family):
        return Parameters(x)
    return x if isinstance(x, (Categorical, Parameters)) else Categorical(probs=x)


def as_pair(P, Q):
    """Both sides as distributions that can be compared."""
    if isinstance(P, Family) and isinstance(Q, Family):
        P, Q = comparable(P, Q)
    return as_distribution(P), as_distribution(Q)

"""Families of distributions: parameters and their validation, one file a family or a few close relatives."""

from .categorical import Categorical, as_distribution
from .counts import Bernoulli, Binomial, Geometric, NegativeBinomial, Poisson
from .directions import VonMises, VonMisesFisher
from .family import Family, comparable
from .location import Cauchy, Gumbel, Laplace, Uniform
from .normal import DiagNormal, HalfNormal, LogNormal, MultivariateNormal, Normal, Rayleigh
from .positive import Chi2, Exponential, Gamma, InverseGamma, InverseGaussian, Pareto, Weibull
from .simplex import Beta, Dirichlet
from .wishart import Wishart

FAMILIES = (
    Bernoulli, Beta, Binomial, Cauchy, Chi2, DiagNormal, Dirichlet, Exponential, Gamma, Geometric, Gumbel, HalfNormal,
    InverseGamma, InverseGaussian, Laplace, LogNormal, MultivariateNormal, NegativeBinomial, Normal, Pareto, Poisson,
    Rayleigh, Uniform, VonMises, VonMisesFisher, Weibull, Wishart,
)

__all__ = ["Categorical", "FAMILIES", "Family", "as_distribution", "comparable", *(family.__name__ for family in FAMILIES)]

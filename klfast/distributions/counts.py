"""Distributions of counts: Bernoulli, Binomial, Geometric, NegativeBinomial, Poisson."""

from __future__ import annotations

import scipy.special

from .family import COUNT, NONNEGATIVE, POSITIVE, PROBABILITY, PROBABILITY_ABOVE_0, PROBABILITY_BELOW_1, REAL, Family, \
    checked, one_of


class Bernoulli(Family):
    r"""Bernoulli distributions, by probabilities of success or by their logits.

    .. math:: KL(P\|Q) = p \log(p/q) + (1 - p) \log((1 - p)/(1 - q))

    Parameters
    ----------
    probs : array-like
        In [0, 1]. A success that is impossible under Q and not under P makes the divergence inf.
    logits : array-like
        log(p/(1 - p)); the divergence is computed from their differences, without probabilities.
    event_ndim : {0, 1}
        1: the last axis holds independent coordinates (a binary image, say).
    """

    domains = {"probs": PROBABILITY, "logits": REAL}

    def __init__(self, probs=None, logits=None, *, event_ndim=0):
        name, value = one_of("Bernoulli", {"probs": probs, "logits": logits})
        super().__init__(event_ndim=event_ndim, **{name: value})

    @property
    def family(self) -> str:
        return "bernoulli" if "probs" in self.values else "bernoulli_logits"

    def as_logits(self) -> Bernoulli:
        """The same by logits (of probabilities, rounded): where one operand has logits, compare both so."""
        if "logits" in self.values:
            return self
        probs = self.values["probs"]
        if not ((probs > 0) & (probs < 1)).all():
            raise ValueError("Bernoulli: a probability of 0 or 1 has no finite logit; give both sides by probs=")
        return Bernoulli(logits=scipy.special.logit(probs), event_ndim=self.event_ndim)


class _Trials(Family):
    """Families with `probs` or `logits`; logits are turned into probabilities."""

    def __init__(self, probs, logits, event_ndim, **others):
        family = type(self).__name__
        name, value = one_of(family, {"probs": probs, "logits": logits})
        if name == "logits":
            value = scipy.special.expit(checked(family, "logits", value, REAL))
        super().__init__(event_ndim=event_ndim, **others, probs=value)


class Binomial(_Trials):
    r"""Binomial distributions: successes among n trials.

    .. math:: KL(P\|Q) = n (p \log(p/q) + (1 - p) \log((1 - p)/(1 - q)))

    Parameters
    ----------
    total_count : array-like
        n, a positive integer. Rows that are compared must have the same n; with more trials in P, the divergence is
        inf, with fewer there is no closed form.
    probs, logits : array-like
        Exactly one: probability of success or its logit (which is turned into a probability).
    event_ndim : {0, 1}
        1: the last axis holds independent coordinates.
    """

    family = "binomial"
    common = "total_count"
    domains = {"total_count": COUNT, "probs": PROBABILITY}

    def __init__(self, total_count, probs=None, logits=None, *, event_ndim=0):
        super().__init__(probs, logits, event_ndim, total_count=total_count)


class Geometric(_Trials):
    r"""Geometric distributions: failures before the first success, P(x) = (1 - p)^x p.

    .. math:: KL(P\|Q) = (p \log(p/q) + (1 - p) \log((1 - p)/(1 - q)))/p

    Parameters
    ----------
    probs, logits : array-like
        Exactly one: probability of success in (0, 1] or its logit (which is turned into a probability).
    event_ndim : {0, 1}
        1: the last axis holds independent coordinates.
    """

    family = "geometric"
    domains = {"probs": PROBABILITY_ABOVE_0}

    def __init__(self, probs=None, logits=None, *, event_ndim=0):
        super().__init__(probs, logits, event_ndim)


class NegativeBinomial(_Trials):
    r"""Negative binomial distributions: successes before r failures, as in torch.distributions.

    .. math:: KL(P\|Q) = r/(1 - p) (p \log(p/q) + (1 - p) \log((1 - p)/(1 - q)))

    Parameters
    ----------
    total_count : array-like
        r > 0, not necessarily an integer. Rows that are compared must have the same r: otherwise there is no closed
        form.
    probs, logits : array-like
        Exactly one: probability of success in [0, 1) or its logit (which is turned into a probability).
        scipy.stats.nbinom(r, p) is ``NegativeBinomial(r, probs=1 - p)``.
    event_ndim : {0, 1}
        1: the last axis holds independent coordinates.
    """

    family = "negative_binomial"
    common = "total_count"
    domains = {"total_count": POSITIVE, "probs": PROBABILITY_BELOW_1}

    def __init__(self, total_count, probs=None, logits=None, *, event_ndim=0):
        super().__init__(probs, logits, event_ndim, total_count=total_count)


class Poisson(Family):
    r"""Poisson distributions.

    .. math:: KL(P\|Q) = \lambda_p \log(\lambda_p/\lambda_q) - \lambda_p + \lambda_q

    Parameters
    ----------
    rate : array-like
        lambda >= 0; 0 is all mass at 0.
    event_ndim : {0, 1}
        1: the last axis holds independent coordinates.
    """

    family = "poisson"
    domains = {"rate": NONNEGATIVE}

    def __init__(self, rate, *, event_ndim=0):
        super().__init__(event_ndim=event_ndim, rate=rate)

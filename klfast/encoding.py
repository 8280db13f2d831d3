"""Operands: checked rows with their norms, and the right operand encoded around its centre.

check:   Operand    rows, norms, whether any bin is empty; raises with the place of what is wrong
encode:  Reference  an Operand with its centre, classes of equal rows and packed columns (cached)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from . import _engine, apart, memory, plan
from .distributions import Categorical
from .divergences import Divergence

# Below this many columns the direct kernel handles equal pairs as cheaply as a table of classes. So it does below this
# many rows: a column's place in the table costs about as much as two values (400,000 columns of 64 bins: 0.10 s of
# 0.25 s that one row against them took), so at worst, all pairs equal, four times as much as the table.
CLASSES_FROM = 64
CLASSES_FROM_ROWS = 8

# Floor under the centre's probabilities in the whitening scale, so that features stay far inside the range of float32.
SCALE_FLOOR = 1e-24

BALANCED_ROWS = 64  # show how long the features of the two roles are

# Sums over bins divide by the centre, which may be any positive vector.
SUM_CENTER_FLOOR = 2.0**-40


@dataclass
class Operand:
    """Checked rows of one side."""

    rows: _engine.Rows
    norms: np.ndarray
    has_zeros: bool
    single: bool
    threads: int

    @property
    def n(self) -> int:
        return self.rows.shape[0]

    @property
    def n_bins(self) -> int:
        return self.rows.shape[1]

    @property
    def row_work(self) -> int:
        return plan.row_work(self.n_bins, self.rows.domain == _engine.FAMILY)

    @cached_property
    def entropy(self) -> np.ndarray:
        return _engine.entropy(self.rows, self.norms, None, self.threads)[0]

    def as_logits(self) -> Operand:
        """The same distributions read as log-weights, to meet an operand that has logits."""
        if self.rows.domain == _engine.LOGITS:
            return self
        self.check()
        rows = self.rows.as_logits()
        norms, has_zeros, _ = _engine.scan(rows, -1.0, self.threads)
        return Operand(rows, norms, has_zeros, self.single, self.threads)

    def select(self, index) -> Operand:
        return Operand(self.rows.select(index), np.ascontiguousarray(self.norms[index]), self.has_zeros,
                       self.single, self.threads)

    @property
    def room(self) -> np.ndarray:
        """The norms, or where they are still to be computed room for them."""
        return self.norms

    @property
    def unchecked(self) -> float | None:
        """The tolerance of the sums while the rows are unchecked, else None."""
        return None

    def check(self) -> None:
        """Check the rows if they are not; ValueError names the first bad place."""

    def refuse(self, stats: _engine.Stats) -> None:
        """The same where a consumer has checked rows."""


class Unchecked(Operand):
    """Rows that are checked when their norms are first asked for, unless a consumer does it on its way: one that looks
    at each row once waits for their memory half as long."""

    def __init__(self, dist: Categorical, rows: _engine.Rows, name: str, tolerance: float, threads: int):
        self.dist, self.rows, self.name, self.tolerance = dist, rows, name, tolerance
        self.single, self.threads = dist.single, threads

    @cached_property
    def room(self) -> np.ndarray:
        return memory.empty((self.n,), _engine.NORM)

    @cached_property
    def _scanned(self) -> tuple[np.ndarray, bool]:
        norms, has_zeros, stats = _engine.scan(self.rows, self.tolerance, self.threads, self.room)
        self.refuse(stats)
        return norms, has_zeros

    def check(self) -> None:
        self._scanned  # noqa: B018 - raises

    @property
    def norms(self) -> np.ndarray:
        return self._scanned[0]

    @property
    def has_zeros(self) -> bool:
        return self._scanned[1]

    @property
    def unchecked(self) -> float | None:
        return None if "_scanned" in self.__dict__ else self.tolerance

    def refuse(self, stats: _engine.Stats) -> None:
        if stats.refused:
            raise refused(self.dist, self.rows, self.name, stats)


def refused(dist, rows: _engine.Rows, name: str, stats: _engine.Stats, place: str | None = None) -> ValueError:
    """The error for the first row that a check refused."""
    status, row, value = stats.refused
    return dist.refusal(rows, name, status, row, value, place or f"row {row}")


def check(dist: Categorical, name: str, threads: int, measure: bool = False, later: bool = False) -> Operand:
    """Check every row of a matrix of distributions, or with `measure` of nonnegative measures; ValueError names the
    first bad place. `later`: where the rows can wait, they are `Unchecked`."""
    if len(dist.shape) != 2 and dist.domain == _engine.FAMILY:
        raise ValueError(f"{name} must have one batch dimension, one distribution a row; {dist.name} has batch_shape "
                         f"{dist.batch_shape}")
    if len(dist.shape) != 2:
        hint = "; a single distribution is x[None, :]" if len(dist.shape) == 1 else ""
        raise ValueError(f"{name} must be 2-d, one distribution a row; got shape {dist.shape}{hint}")
    if dist.shape[1] == 0 and dist.shape[0]:
        raise ValueError(f"{name} has shape {dist.shape}: distributions need at least one bin")
    rows = as_measure(dist, dist.rows(), name) if measure else dist.rows()
    threads = plan.worth(threads, dist.shape[0] * plan.row_work(dist.shape[1], dist.domain == _engine.FAMILY))
    tolerance = -1.0 if measure else dist.sum_tolerance
    if later and dist.domain != _engine.FAMILY:
        return Unchecked(dist, rows, name, tolerance, threads)
    norms, has_zeros, stats = _engine.scan(rows, tolerance, threads)
    if stats.refused:
        raise refused(dist, rows, name, stats)
    return Operand(rows, norms, has_zeros, dist.single, threads)


def as_measure(dist: Categorical, rows: _engine.Rows, name: str) -> _engine.Rows:
    """The rows for a divergence that does not normalise them."""
    if dist.domain == _engine.LOGITS:
        raise ValueError(f"{name}: this divergence compares rows as they are, not normalised; it takes weights "
                         "(an array, or Categorical(counts=...)), not logits")
    return rows.as_measure()


def check_match(p, q, divergence: Divergence, p_bins: int, q_bins: int) -> None:
    """Both sides can be compared, by this divergence; else ValueError."""
    if _engine.FAMILY not in (p.domain, q.domain):
        if p_bins != q_bins:
            raise ValueError(f"P and Q must have the same number of bins; got {p_bins} and {q_bins}")
        return
    names = [x.name if x.domain == _engine.FAMILY else "Categorical" for x in (p, q)]
    if getattr(p, "family", None) != getattr(q, "family", None):
        raise ValueError(f"P is {names[0]} and Q is {names[1]}; both must be of one family")
    if p_bins != q_bins:
        raise ValueError(f"P and Q ({names[0]}) have different dimensions: {p_bins} and {q_bins} parameters")
    check_available(divergence, p.distribution, q.distribution)


def check_available(divergence: Divergence, p, q) -> None:
    """Two batches of one family have a closed form of this divergence; else ValueError."""
    name = type(p).__name__
    powers = divergence.kind == "power" and p.powers
    simple = divergence.kind in ("kl", "jeffreys") and not divergence.adds_entropy and not divergence.measure
    if not simple and not powers:
        relatives = ("; and renyi, tsallis, alpha and chernoff, with bhattacharyya, hellinger, squared_hellinger, chi2 "
                     "and neyman_chi2" if p.powers else "")
        raise ValueError(f"{divergence.name} is not available for {name}; kl, reverse_kl and jeffreys are{relatives}")
    if powers and p.common_in_powers:
        both = np.concatenate([x.values[p.common_in_powers].ravel() for x in (p, q)])
        if both.size and not (both == both[0]).all():
            raise ValueError(f"{divergence.name} of {name} distributions needs one {p.common_in_powers} in common; it "
                             f"takes several values ({both.min():g} to {both.max():g})")


def softmax(logits):
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def center_of(operand: Operand, floor: float) -> _engine.Center:
    """The mean of the rows, as a row of their domain, with the scale 1/sqrt(c) that whitens features."""
    if operand.rows.domain == _engine.FAMILY:
        nothing = np.empty(0)
        return _engine.Center(_engine.family_center(operand.rows, operand.threads), (0.0, 0.0), nothing, nothing)
    mean = np.maximum(_engine.mean_probs(operand.rows, operand.norms, operand.threads), floor)
    if floor:
        mean /= mean.sum()  # 1 again: sums over bins count on it where they leave out sum c z (far.h)
    logits = operand.rows.domain == _engine.LOGITS
    with np.errstate(divide="ignore"):
        row = (np.log(mean) if logits else mean)[None, :]
        scale = np.where(mean > 0, 1 / np.sqrt(np.maximum(mean, SCALE_FLOOR)), 0.0)
    norm = _engine.scan(_engine.Rows(row, operand.rows.domain), -1.0, 1)[0][0]
    probs = softmax(row[0]) if logits else mean
    return _engine.Center(row[0], tuple(norm), probs, scale)


def balance_of(operand: Operand, center: _engine.Center) -> float:
    """The power of two near the root of how much longer natural features are than mean ones, by some of the rows."""
    some = operand.select(np.unique(np.linspace(0, operand.n - 1, BALANCED_ROWS).astype(np.int64)))
    kl = _engine.Form("kl").against(some.rows)
    lengths = [_engine.Columns(kl, some.rows, some.norms, center, role, False, False, False, 1.0, 0.0, 1).norm[:some.n]
               for role in (_engine.MEAN, _engine.NATURAL)]
    usable = np.isfinite(lengths).all(0) & (np.min(lengths, 0) > 0)
    if not usable.any():
        return 1.0
    mean, natural = (np.median(x[usable]) for x in lengths)
    return 2.0 ** round(0.5 * (math.log2(natural) - math.log2(mean)))


class Reference:
    """The right operand, encoded once: what `Index` holds."""

    def __init__(self, operand: Operand, role: int, form: _engine.Form, center: _engine.Center | None = None):
        self.operand, self.role, self.form = operand, role, form.against(operand.rows)
        floor = 0.0 if form.shape == _engine.PRODUCT else SUM_CENTER_FLOOR
        self.center = center
        if operand.n and center is None:
            self.center = center_of(operand, floor)
            if self.form.goes_both_ways:
                self.center.take_balance(balance_of(operand, self.center))
        self._columns: dict[tuple[int, bool, bool, bool], _engine.Columns] = {}

    @cached_property
    def as_logits(self) -> Reference:
        """Itself if it has logits, else its reading as log-weights, for left operands that have them."""
        if self.operand.rows.domain == _engine.LOGITS:
            return self
        return Reference(self.operand.as_logits(), self.role, self.form)

    def part(self, index) -> Reference:
        """The rows at `index`, around the same centre."""
        part = Reference(self.operand.select(index), self.role, self.form, self.center)
        part._margins = self._margins
        return part

    @cached_property
    def _overlap(self) -> _engine.Form | None:
        """The form for rows far apart, where there is one."""
        return self.form.of_overlap(self.operand.rows) if self.operand.n > 1 else None

    @cached_property
    def _margins(self) -> apart.Margins | None:
        o = self.operand
        return None if self._overlap is None else apart.margins(o.rows, o.norms, self.center, self.form)

    def tiles(self, search: bool, single: bool) -> _engine.Form:
        """The form whose tiles serve these columns: in a search or for values, where float32 will do or not."""
        overlap = self._overlap
        return overlap if overlap and self._margins.far(search, single, overlap.needs_double) else self.form

    @cached_property
    def _glances(self) -> _engine.Keys | None:
        """Keys from a few bins, where those tell all rows apart."""
        o = self.operand
        keys = _engine.Keys(_engine.keys(o.rows, o.norms, True, o.threads))
        return None if keys.copies else keys

    @cached_property
    def _keys(self) -> _engine.Keys:
        o = self.operand
        return self._glances or _engine.Keys(_engine.keys(o.rows, o.norms, False, o.threads))

    @cached_property
    def _classes(self):
        """(class of each row, which is the first row of it, or -1; whether a row agrees with that to the bit)."""
        o, classes = self.operand, self._keys.first
        identical = np.ones(o.n, bool)
        if self._keys.copies:
            copies = np.flatnonzero(classes != np.arange(o.n))
            same, identical[copies] = _engine.compare(o.rows, o.rows, copies, classes[copies], o.threads)
            classes = classes.copy()
            classes[copies[~same]] = -1  # two keys collided: the direct kernel will see to such a row
        return classes, identical

    def classes_of(self, left: Operand | None):
        """Classes of equal rows as (left, right), or (None, None) where not worth the keys."""
        if self.operand.n < CLASSES_FROM or (left is not None and left.n < CLASSES_FROM_ROWS):
            return None, None
        right, _ = self._classes
        if left is None:
            return right, right
        wanted = _engine.keys(left.rows, left.norms, self._glances is not None, left.threads)
        classes = self._keys.find(wanted, left.threads)
        found = np.flatnonzero(classes >= 0)
        if found.size:
            same, _ = _engine.compare(left.rows, self.operand.rows, found, classes[found], left.threads)
            classes[found[~same]] = -1
        return classes, right

    @cached_property
    def distinct(self):
        """Rows that agree to the bit as one: (index of the distinct rows, number of each row's among them, starts
        and members of the groups); None if there are none."""
        n = self.operand.n
        if not self._keys.copies:
            return None
        classes, identical = self._classes
        owner = np.where(identical & (classes >= 0), classes, np.arange(n))
        is_owner = owner == np.arange(n)
        if is_owner.all():
            return None
        group = (np.cumsum(is_owner) - 1)[owner]
        members = np.argsort(group, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(group))])
        return np.flatnonzero(is_owner), group, starts, members

    @property
    def width(self) -> int:
        return self.form.width(self.operand.rows)

    def certificate(self, single: bool, tiles: _engine.Form | None = None) -> plan.Certificate:
        shape, magnified = (tiles or self.form).shape, self.form.magnified
        if shape == _engine.PRODUCT:
            return plan.certificate(self.width, single, magnified)
        if shape == _engine.OVERLAP:
            return plan.overlap_certificate(self.width, single, magnified)
        if shape == _engine.SUM_FAMILY:
            return plan.term_certificate(self.width)
        return plan.sum_certificate(self.width, single, shape == _engine.SUM_ABS, self.form.gain)

    def far_certificate(self, single: bool) -> tuple[float, float, float, float]:
        """The bound of a sum over bins in its form for rows far apart, by the slacks and the value, and the value that
        slacks usually go with (kl_far); zeros where there is no such form."""
        if self.form.shape not in (_engine.SUM_JS, _engine.SUM_SKEW):
            return 0.0, 0.0, 0.0, 0.0
        far, slack = plan.far_certificate(self.width, single, self.form.gain), self.certificate(single).slack
        return far.base, far.by_offsets / slack, far.by_value, plan.far_usual(self.width, single) * self.form.usual / slack

    def columns(self, tiles: _engine.Form, single: bool, distinct: bool, with_support: bool,
                coarse: bool = False) -> _engine.Columns:
        """Features of a form packed for the active ISA, in float32 or float64, of all or of the distinct rows;
        `coarse`: for a screen that may look at bytes first."""
        key = (tiles.shape, single, distinct, coarse)
        found = self._columns.get(key)
        if found is None or found.isa != _engine.active_isa() or (with_support and not found.support.size):
            o = self.operand.select(self.distinct[0]) if distinct else self.operand
            c = self.certificate(single, tiles)
            found = self._columns[key] = _engine.Columns(
                tiles, o.rows, o.norms, self.center, self.role, single, with_support, coarse, c.slack, c.floor,
                o.threads)
        return found

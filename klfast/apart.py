"""Whether rows are so far apart that powers had better be computed by sum p^s q^t itself (docs: numerics)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import _engine, plan

PAIRS = 64  # of the columns, which show it

# Overlaps in float64 instead of features in float32 pay from this part of the pairs in doubt on: measured, 64 bins, a
# pair takes 0.9 ns more, and 30 to 100 by the direct kernel (Zen 5).
SOME = PAIRS // 64

# Forms that cost the same are compared by the pairs up to this margin: that they are few tells of those below 1, which
# are too rare to be seen among so few.
CLOSE = 8


@dataclass(frozen=True)
class Margins:
    """Of some pairs, how much more of an error features and overlaps could bear in float64 and float32 (by `single`);
    below 1 a pair is in doubt. `blind`: how many the features' bound in float32 does not tell from equal ones."""

    features: dict[bool, np.ndarray]
    overlaps: dict[bool, np.ndarray]
    blind: int

    def far(self, search: bool, single: bool, needs_double: bool) -> bool:
        """Whether overlaps serve better. A search, whose answers are exact either way, needs bounds for the near pairs
        alone: of orders below 1 features give them as well."""
        if search:
            return needs_double and self.blind > SOME
        if single and needs_double:
            return (self.features[True] < 1).sum() > SOME
        return (self.features[single] < CLOSE).sum() > (self.overlaps[single] < CLOSE).sum()


def margins(rows: _engine.Rows, norms: np.ndarray, center: _engine.Center, form: _engine.Form) -> Margins:
    """Of pairs of these rows, which are at least two, with their norms."""
    chosen = np.unique(np.linspace(0, rows.shape[0] - 1, PAIRS).astype(np.int64))
    indices = chosen, np.roll(chosen, max(1, chosen.size // 3))
    left, right = (rows.select(i) for i in indices)
    values = np.empty(chosen.size)
    _engine.rowwise(form, left, right, 0, chosen.size, -1.0, -1.0, values, 1)
    encoded = [
        _engine.Columns(form, part, np.ascontiguousarray(norms[i]), center, role, False, False, False, 1.0, 0.0, 1)
        for part, i, role in zip((left, right), indices, (_engine.MEAN, _engine.NATURAL), strict=True)]
    lengths, slacks = (np.array([getattr(x, name)[:chosen.size] for x in encoded]) for name in ("norm", "slack"))
    unequal = np.isfinite(values) & (values > 0)  # the others are in no doubt
    values, lengths, slacks = values[unequal], lengths[:, unequal].prod(0), slacks[:, unequal].sum(0)
    features, overlaps, seen = {}, {}, {}
    with np.errstate(all="ignore"):
        overlap, terms = form.overlap_at(values)
        for single in (False, True):
            accept = plan.accept_factor(plan.DEFAULT_RTOL[single])
            c, of_overlap = (make(form.width(rows), single, form.magnified)
                             for make in (plan.certificate, plan.overlap_certificate))
            slack = c.slack * slacks + c.floor
            error = c.norm * lengths + slack
            seen[single] = terms > error
            features[single] = accept * terms * np.minimum(overlap, 1) / error
            if form.number > 1:  # or without norms (kl_product_args.apart)
                alone = (accept - c.norm) * terms / (max(1, c.norm / c.slack) * slack)
                features[single] = np.maximum(features[single], alone)
            overlaps[single] = accept * np.abs(np.log(overlap)) / of_overlap.slack
    return Margins(features, overlaps, int((~seen[True]).sum()))

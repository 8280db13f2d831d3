/* What the engine knows of a divergence besides its terms: shape, width, supports, finish. */
#include <math.h>

#include "../klfast.h"

kl_shape kl_shape_of(const kl_divergence *f)
{
    if (f->by_terms) return KL_SUM_FAMILY;
    if (f->by_overlap) return KL_OVERLAP;
    switch (f->kind) {
    case KL_SKEW_JS: return KL_SUM_JS;
    case KL_SKEW_KL: return KL_SUM_SKEW;
    case KL_VARIATION: return KL_SUM_ABS;
    case KL_TRIANGULAR: return KL_SUM_TRIANGLE;
    default: return KL_PRODUCT;
    }
}

int kl_has_overlap(const kl_divergence *f, int32_t domain)
{
    return f->kind == KL_POWER && (f->finish == KL_LOG || f->number > 1) && (domain == KL_PROBS || domain == KL_LOGITS);
}

int kl_is_symmetric(const kl_divergence *f)
{
    return f->kind == KL_JEFFREYS || f->kind == KL_VARIATION || f->kind == KL_TRIANGULAR
        || ((f->kind == KL_POWER || f->kind == KL_SKEW_JS) && f->number == 0.5);
}

int64_t kl_width_of(const kl_divergence *f, const kl_rows *rows)
{
    if (rows->family && f->kind == KL_POWER) return 0; /* by values alone */
    if (f->by_terms) return KL_TERM_NUMBERS * (rows->n_cols / 2);
    const int64_t width = rows->family ? rows->family->width(rows->n_cols) : rows->n_cols;
    return f->kind == KL_JEFFREYS ? 2 * width : width;
}

int64_t kl_scratch_of(const kl_divergence *f, const kl_rows *rows)
{
    const int64_t K = rows->n_cols, plain = 3 * K + 4 * kl_width_of(f, rows); /* rows, and the features of four */
    if (!rows->family) return plain;
    /* Also: Jeffreys' two halves, and the family's own. */
    return plain + 2 * kl_width_of(f, rows) + rows->family->scratch(K) + 8;
}

kl_support kl_support_of(const kl_divergence *f)
{
    switch (f->kind) {
    case KL_KL: return KL_SUPPORT_WITHIN;
    case KL_POWER:
        if (f->number > 1) return KL_SUPPORT_WITHIN;
        return f->finish == KL_LOG ? KL_SUPPORT_MEETING : KL_SUPPORT_FREE;
    case KL_JEFFREYS:
    case KL_ITAKURA_SAITO: return KL_SUPPORT_EQUAL;
    default: return KL_SUPPORT_FREE;
    }
}

double kl_finished(const kl_divergence *f, double sum)
{
    if (f->finish == KL_LINEAR) return f->factor * sum;
    const double x = sum > 0 ? sum : 0;
    if (f->finish == KL_SQRT) return sqrt(f->factor * x);
    if (x == INFINITY || f->scale * x <= -1) return INFINITY;
    const double y = f->scale * x;
    return fabs(y) < 0x1p-70 ? f->factor * f->scale * x : f->factor * log1p(y); /* y itself may be subnormal */
}

double kl_unfinished(const kl_divergence *f, double value)
{
    if (f->finish == KL_LINEAR) return value / f->factor;
    if (f->finish == KL_SQRT) return value * value / f->factor;
    return expm1(value / f->factor) / f->scale;
}

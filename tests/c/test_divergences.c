/* Every kind of divergence: exact values, features with their certificate, finishes; against long double. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = MOST_BINS, ROWS = 12, KINDS = 17 };

#define SUM_OF(of, s, t) {.kind = of, .finish = KL_LINEAR, .number = s, .rest = t, .factor = 1}
static const kl_divergence kinds[KINDS] = {
    SUM_OF(KL_KL, 0, 0), SUM_OF(KL_JEFFREYS, 0, 0), SUM_OF(KL_ITAKURA_SAITO, 0, 0), SUM_OF(KL_VARIATION, 0, 0),
    SUM_OF(KL_TRIANGULAR, 0, 0), SUM_OF(KL_SKEW_JS, 0.5, 0.5), SUM_OF(KL_SKEW_JS, 0.25, 0.75),
    SUM_OF(KL_SKEW_KL, 0.5, 0.5), SUM_OF(KL_SKEW_KL, 0.875, 0.125), SUM_OF(KL_POWER, 0.5, 0.5), SUM_OF(KL_POWER, 2, -1),
    SUM_OF(KL_POWER, 0.75, 0.25), SUM_OF(KL_POWER, 0.999999, 1 - 0.999999), SUM_OF(KL_POWER, 1.000001, 1 - 1.000001),
    SUM_OF(KL_POWER, 3.5, -2.5),
    {.kind = KL_POWER, .finish = KL_LOG, .number = 0.5, .rest = 0.5, .scale = -0.25, .factor = -1},
    {.kind = KL_SKEW_JS, .finish = KL_SQRT, .number = 0.5, .rest = 0.5, .factor = 1},
};

static long double log_ratio(long double p, long double q)
{
    return fabsl(p - q) < q / 2 ? log1pl((p - q) / q) : logl(p / q);
}

/* p log(p/q) - p + q. Its parts cancel: of two bins 1e-5 apart, long double would keep nine digits. */
static long double g_of(long double p, long double q) { return q * term_over_q((p - q) / q); }

static long double term_of(const kl_divergence *f, long double p, long double q)
{
    const long double s = f->number, t = f->rest, m = f->kind == KL_SKEW_JS ? s * p + t * q : t * p + s * q;
    const int apart = (p > 0) != (q > 0);
    if (p == 0 && q == 0) return 0;
    switch (f->kind) {
    case KL_KL: return q == 0 ? INFINITY : g_of(p, q);
    case KL_JEFFREYS: return apart ? INFINITY : (p - q) * log_ratio(p, q);
    case KL_ITAKURA_SAITO: return apart ? INFINITY : expm1l(log_ratio(p, q)) - log_ratio(p, q);
    case KL_VARIATION: return fabsl(p - q) / 2;
    case KL_TRIANGULAR: return (p - q) * (p - q) / (p + q);
    case KL_SKEW_JS: return s * g_of(p, m) + t * g_of(q, m);
    case KL_SKEW_KL: return g_of(p, m);
    default:
        if (p == 0) return q / s;
        if (q == 0) return t > 0 ? p / t : INFINITY;
        return (t * (q - p) - p * expm1l(-t * log_ratio(p, q))) / (s * t);
    }
}

static long double finished(const kl_divergence *f, long double sum)
{
    if (f->finish == KL_SQRT) return sqrtl(f->factor * sum);
    if (f->finish == KL_LOG) return isinf(sum) ? sum : f->factor * log1pl(f->scale * sum);
    return f->factor * sum;
}

static void normalised(const double *x, int64_t K, kl_domain domain, long double *out)
{
    long double top = -INFINITY, sum = 0;
    for (int64_t i = 0; i < K; i++) top = x[i] > top ? x[i] : top;
    for (int64_t i = 0; i < K; i++) sum += out[i] = domain == KL_LOGITS ? expl(x[i] - top) : x[i];
    for (int64_t i = 0; i < K && domain != KL_MEASURE; i++) out[i] /= sum;
}

/* Of normalised rows. */
static long double sum_of(const kl_divergence *f, const long double *p, const long double *q, int64_t K)
{
    long double sum = 0;
    for (int64_t i = 0; i < K; i++) sum += term_of(f, p[i], q[i]);
    return sum;
}

/* KL has all domains; Itakura-Saito only measures; the others distributions. */
static int takes(const kl_divergence *f, kl_domain domain)
{
    return f->kind == KL_KL || (f->kind == KL_ITAKURA_SAITO) == (domain == KL_MEASURE);
}

/* A row whose first bin has mass; `zeros`: about a third of the others have none. */
static void fill(double *x, int64_t K, kl_domain domain, int zeros)
{
    for (int64_t i = 0; i < K; i++) {
        x[i] = domain == KL_LOGITS ? uniform(-8, 3) : exp(uniform(-6, 0));
        if (zeros && i && random_bits() % 3 == 0) x[i] = domain == KL_LOGITS ? -INFINITY : 0;
    }
}

/* Whether the rows are the same distribution or measure. */
static int equal(const double *p, const double *q, int64_t K, kl_domain domain)
{
    return (K == 1 && domain != KL_MEASURE) || !memcmp(p, q, (size_t)K * 8);
}

static void check_pair(const kl_kernels *k, const kl_divergence *f, kl_domain domain, int64_t K, int pattern, side s,
                       region *r)
{
    double *p = place(r[0], (size_t)K * 8, s), *q = place(r[1], (size_t)K * 8, s);
    double *terms = place(r[2], (size_t)K * 8, s);
    kl_norm norms[2];
    kl_stats stats = {0};
    int32_t zeros = 0;
    fill(p, K, domain, pattern & 1);
    fill(q, K, domain, pattern & 2);
    if (pattern == 4) memcpy(q, p, (size_t)K * 8);
    kl_rows P = matrix(p, 1, K, domain), Q = matrix(q, 1, K, domain);
    k->scan(&P, 0, 1, -1, norms, &zeros, terms, &stats);
    k->scan(&Q, 0, 1, -1, norms + 1, &zeros, terms, &stats);
    long double bins[2][MOST];
    normalised(p, K, domain, bins[0]);
    normalised(q, K, domain, bins[1]);
    const long double sum = equal(p, q, K, domain) ? 0 : sum_of(f, bins[0], bins[1], K);
    const double value = direct_value(k, f, domain, p, norms[0], q, norms[1], K), careful = kl_careful(f, domain, p, q, K);
    const long double exact = finished(f, sum);
    CHECK(close_to(value, exact, 1e-12) && !signbit(value), "%s: kind %d, %g, domain %d: %.17g, not %.17Lg: %ld bins, "
          "pattern %d", k->name, f->kind, f->number, domain, value, exact, (long)K, pattern);
    CHECK(close_to(careful, exact, 1e-12) && !signbit(careful), "careful: kind %d, %g, domain %d: %.17g, not %.17Lg: "
          "%ld bins, pattern %d", f->kind, f->number, domain, careful, exact, (long)K, pattern);
    long double total = 0;
    int right = 1;
    kl_contributions(f, domain, p, q, K, terms);
    for (int64_t i = 0; i < K; i++) total += terms[i], right &= terms[i] >= 0;
    CHECK(right && (close_to((double)total, sum, 1e-12) || total == sum), "contributions of kind %d, %g, domain %d: "
          "%.17Lg, not %.17Lg: %ld bins, pattern %d", f->kind, f->number, domain, total, sum, (long)K, pattern);
}

/* Blocks of rows give what each of them gives alone; the scratch is as large as klfast.h says. */
static void check_rowwise(const kl_kernels *k, const kl_divergence *f, kl_domain domain, int64_t K, int64_t n, side s,
                          region *r)
{
    double *p = place(r[0], (size_t)(n * K) * 8, s), *q = place(r[1], (size_t)(n * K) * 8, s);
    double *scratch = place(r[2], (size_t)K * 8 * (K <= 256 ? 32 : 4), s), *out = place(r[3], (size_t)n * 8, s);
    kl_rows P = matrix(p, n, K, domain), Q = matrix(q, n, K, domain);
    kl_norm np[ROWS], nq[ROWS];
    kl_stats stats = {0};
    int32_t zeros = 0;
    int same = 1;
    for (int64_t i = 0; i < n; i++) fill(p + i * K, K, domain, i & 1), fill(q + i * K, K, domain, i & 2);
    k->scan(&P, 0, n, -1, np, &zeros, scratch, &stats);
    k->scan(&Q, 0, n, -1, nq, &zeros, scratch, &stats);
    k->rowwise(f, &P, &Q, 0, n, -1, -1, 0, out, scratch, &stats);
    CHECK(stats.status == KL_ROW_OK && stats.isa_ran == k->bit, "%s: rowwise, kind %d", k->name, f->kind);
    for (int64_t i = 0; i < n; i++) same &= out[i] == direct_value(k, f, domain, p + i * K, np[i], q + i * K, nq[i], K);
    CHECK(same, "%s: rows of kind %d, %g, are not as they are alone, %ld x %ld", k->name, f->kind, f->number, (long)n,
          (long)K);
}

void test_values(const kl_kernels *k)
{
    region r[4] = {region_new(8 * ROWS * MOST), region_new(8 * ROWS * MOST), region_new(8 * 32 * MOST),
                   region_new(8 * ROWS)};
    for (int f = 0; f < KINDS; f++)
        for (kl_domain domain = KL_PROBS; domain <= KL_MEASURE; domain++)
            for (int l = 1; l < n_lengths && takes(&kinds[f], domain); l++)
                for (side s = AT_END; s <= AT_START; s++) {
                    for (int pattern = 0; pattern < 5; pattern++)
                        check_pair(k, &kinds[f], domain, lengths[l], pattern, s, r);
                    check_rowwise(k, &kinds[f], domain, lengths[l], 1 + l % ROWS, s, r);
                }
}

/* ---- features ---- */

typedef struct {
    void *features, *offset, *norm, *slack;
    int64_t width, count;
    int single;
} encoded;

/* The constants of klfast/plan.py: certificate and sum_certificate. */
static void set_certificate(kl_encode_args *a, int64_t count, int left)
{
    const kl_divergence *f = a->divergence;
    const double unit = a->single ? 0x1p-24 : 0x1p-53, kappa = a->single ? 6 : 32, least = 32 * 0x1p-106;
    const double chain = (double)(count < 256 ? count : 256) + (double)((count + 255) / 256);
    const double gain = f->kind == KL_SKEW_KL ? 1 / (1 - f->number) : 0;
    if (kl_shape_of(f) == KL_PRODUCT) {
        a->norm_factor = left ? 1.001 * ((chain + 16) * unit / (1 - (chain + 16) * unit) + kappa * unit) : 1;
        a->slack_factor = 1.001 * 2 * kappa * unit;
        a->slack_floor = least + (a->single ? 1e-32 * (double)count : 0);
    } else {
        const double each = f->kind == KL_SKEW_KL ? (a->single ? 84 : 140) + 4 * gain
                          : f->kind == KL_VARIATION ? 124 : 84;
        const double roundings = (chain + each) * unit;
        a->norm_factor = left ? 0 : 1;
        a->slack_factor = 1.001 * roundings / (1 - roundings);
        a->slack_floor = least;
    }
}

/* Rows as one operand, in buffers of exactly the size that klfast.h states: features, and three numbers a row. */
static encoded encode(const kl_kernels *k, const kl_divergence *f, kl_role role, int single, const kl_rows *rows,
                      const kl_norm *norms, const center_of_rows *c, side s, region *r)
{
    const int64_t n = rows->n_rows, K = rows->n_cols, count = f->kind == KL_JEFFREYS ? 2 * K : K;
    const int64_t width = role == KL_MEAN ? (single ? k->mr32 : k->mr64) : (single ? k->nr32 : k->nr64);
    const int64_t padded = (n + width - 1) / width * width;
    const size_t size = single ? 4 : 8;
    kl_stats stats = {0};
    kl_encode_args a = {
        .divergence = f, .rows = rows, .norms = norms, .center = &c->c, .begin = 0, .end = n, .role = role,
        .single = single, .width = (int32_t)width, .scratch = place(r[0], (size_t)kl_scratch_of(f, rows) * 8, s),
        .features = place(r[1], (size_t)(padded * count) * size, s), .offset = place(r[2], (size_t)padded * size, s),
        .norm = place(r[3], (size_t)padded * size, s), .slack = place(r[4], (size_t)padded * size, s),
    };
    set_certificate(&a, count, role == KL_MEAN);
    k->encode(&a, &stats);
    int empty = stats.isa_ran == k->bit;
    for (int64_t i = n; i < padded; i++) {
        empty &= get(a.offset, i, single) == INFINITY;
        for (int64_t t = 0; t < count; t++)
            empty &= get(a.features, i / width * width * count + i % width + t * width, single) == 0;
    }
    CHECK(empty, "%s: padding of kind %d, %ld rows", k->name, f->kind, (long)n);
    return (encoded){a.features, a.offset, a.norm, a.slack, width, count, single};
}

static double feature_of(const encoded *e, int64_t i, int64_t t)
{
    return get(e->features, i / e->width * e->width * e->count + i % e->width + t * e->width, e->single);
}

/* | offset_i + offset_j - <features> - sum of terms | <= norm_i norm_j + slack_i + slack_j, up to `own`, the rounding
 * of the reference; and the bound is small beside what the pair is made of. */
static void check_bound(const kl_kernels *k, const kl_divergence *f, const encoded *left, const encoded *right,
                        int64_t i, int64_t j, const center_of_rows *c, long double exact, long double own, int64_t K)
{
    const int single = left->single;
    long double size = 0, value = (long double)get(left->offset, i, single) + get(right->offset, j, single);
    for (int64_t t = 0; t < left->count; t++) {
        const double center = single ? (float)c->probs[t % K] : c->probs[t % K];
        value -= tile_term(kl_shape_of(f), feature_of(left, i, t), feature_of(right, j, t), center, 1 / (1 - f->number),
                           &size);
    }
    const long double bound = (long double)get(left->norm, i, single) * get(right->norm, j, single)
                            + get(left->slack, i, single) + get(right->slack, j, single);
    CHECK(fabsl(value - exact) <= bound + own, "%s: kind %d, %g, single %d, %ld bins: %.17Lg, not %.17Lg, bound %Lg",
          k->name, f->kind, f->number, single, (long)K, value, exact, bound);
    const int steep = f->kind == KL_POWER && f->number > 2; /* features of opposite signs, far larger than the value */
    CHECK(isinf(bound) || steep || bound <= (single ? 1e-3L : 1e-11L) * (1 + 100 * exact + size),
          "%s: kind %d, %g: bound %Lg", k->name, f->kind, f->number, bound);
}

/* Rows near and far, with zeros, and (`near`) multiples of one row up to a rounding, which are 1e-32 apart. */
static void fill_rows(double *x, int64_t n, int64_t K, kl_domain domain, int near)
{
    for (int64_t i = 0; i < n; i++) fill(x + i * K, K, domain, i >= 4 && !near);
    if (domain == KL_LOGITS) return;
    for (int64_t i = 0; i < K; i++) x[K + i] = x[i] * (1 + 1e-6 * uniform(-1, 1));
    for (int64_t i = 1; i < n && near; i++) {
        const double factor = domain == KL_MEASURE ? 1 : uniform(1, 8);
        for (int64_t t = 0; t < K; t++) x[i * K + t] = x[t] * factor;
    }
}

static void check_features(const kl_kernels *k, const kl_divergence *f, kl_domain domain, int64_t K, int form,
                           region *r)
{
    static center_of_rows c;
    static long double bins[6][MOST];
    const int64_t n = 6;
    const int single = form & 1;
    const side s = form & 2 ? AT_START : AT_END;
    const kl_divergence plain = {.kind = f->kind, .number = f->number, .rest = f->rest, .factor = 1};
    double *x = place(r[0], (size_t)(n * K) * 8, s), *scratch = place(r[1], (size_t)K * 8, s);
    kl_rows rows = matrix(x, n, K, domain);
    kl_norm norms[6];
    kl_stats stats = {0};
    int32_t zeros = 0;
    fill_rows(x, n, K, domain, form & 4);
    for (int64_t i = 0; i < n; i++) normalised(x + i * K, K, domain, bins[i]);
    make_center(k, x, n, K, domain, &c);
    k->scan(&rows, 0, n, -1, norms, &zeros, scratch, &stats);
    const encoded left = encode(k, f, KL_MEAN, single, &rows, norms, &c, s, r + 1);
    const encoded right = encode(k, f, KL_NATURAL, single, &rows, norms, &c, s, r + 6);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            /* Rows so near that even long double cancels: the double-double of kl_careful. */
            const long double exact = form & 4 ? kl_careful(&plain, domain, x + i * K, x + j * K, K)
                                               : sum_of(f, bins[i], bins[j], K);
            const long double own = form & 4 ? 1e-15L * exact : 1e-18L * (1 + exact);
            if (!isinf(exact)) check_bound(k, f, &left, &right, i, j, &c, exact, own, K);
        }
}

void test_features(const kl_kernels *k)
{
    region r[11];
    for (int i = 0; i < 11; i++) r[i] = region_new(8 * 64 * 2 * MOST);
    for (int f = 0; f < KINDS; f++)
        for (kl_domain domain = KL_PROBS; domain <= KL_MEASURE; domain++)
            for (int l = 1; l < n_lengths && takes(&kinds[f], domain); l += 1 + f % 2 + (l > 17))
                for (int form = 0; form < 8; form++) check_features(k, &kinds[f], domain, lengths[l], form, r);
}

/* ---- finishes ---- */

void test_finish(const kl_kernels *k)
{
    static const kl_divergence finishes[] = {
        {.finish = KL_LINEAR, .factor = 1}, {.finish = KL_LINEAR, .factor = 0.3}, {.finish = KL_SQRT, .factor = 0.25},
        {.finish = KL_LOG, .scale = -0.25, .factor = -1}, {.finish = KL_LOG, .scale = 2, .factor = 1.5},
    };
    enum { WIDTH = 96 };
    region r = region_new(8 * MOST);
    static const double nothing[WIDTH] = {0};
    for (int f = 0; f < 5; f++)
        for (int64_t n = 1; n <= 67; n++)
            for (int form = 0; form < 4; form++) {
                const int single = form & 1;
                const double unit = single ? 0x1p-24 : 0x1p-53;
                void *x = place(r, (size_t)n * (single ? 4 : 8), form & 2 ? AT_START : AT_END);
                double sums[WIDTH], offset[WIDTH] = {0};
                uint32_t doubts[WIDTH];
                int right = 1;
                kl_stats stats = {0};
                for (int64_t i = 0; i < n; i++) {
                    sums[i] = i % 9 == 3 ? 0 : i % 9 == 5 ? INFINITY : exp(uniform(-30, 1.3));
                    set(offset, i, single, sums[i]), sums[i] = get(offset, i, single);
                }
                kl_product_args a = { /* the sums are the columns' offsets, all else is 0 */
                    .left = nothing, .right = nothing, .row_offset = nothing, .row_norm = nothing, .row_slack = nothing,
                    .col_offset = offset, .col_norm = nothing, .col_slack = nothing, .K = 1, .rows = 1, .cols = n,
                    .accept = 1, .finish = &finishes[f], .out = x, .out_stride = n, .doubts = doubts,
                };
                k->dense[single][KL_PRODUCT](&a, &stats);
                for (int64_t i = 0; i < n; i++) {
                    const long double exact = finished(&finishes[f], sums[i]);
                    const double got = get(x, i, single), alone = kl_finished(&finishes[f], sums[i]);
                    right &= close_to(got, exact, 8 * unit) && close_to(alone, exact, 0x1p-50);
                    right &= isinf(exact) || close_to(kl_unfinished(&finishes[f], alone), sums[i], 1e-12);
                }
                CHECK(right, "%s: finish %d, single %d, %ld values", k->name, f, single, (long)n);
            }
}

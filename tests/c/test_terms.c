/* The terms of the sums over bins one by one, and for rows far apart their sums. The certificate allows a term 84 units
 * of roundoff of what its bin adds to the two offsets, SKEW in float64 140, and 4 / (1 - a) more
 * (plan.sum_certificate); asked for here are six sevenths. */
#include "check.h"

#include <stdlib.h>

enum { COLS = 4096 };

/* (1 + z) log(1 + z) - z and log(1 + z) - z; the series where that cancels: its 16th term is below 2^-100. */
static long double series(long double z, int second)
{
    long double sum = 0, power = z;
    for (int k = 2; k < 18; k++) power *= -z, sum += second ? power / k : -power / (k * (k - 1));
    return sum;
}
long double term_over_q(long double z)
{
    return z <= -1 ? 1 : fabsl(z) < 0x1p-7L ? series(z, 0) : (1 + z) * log1pl(z) - z;
}
static long double skewed(long double u, long double z) /* (1 + u) log(1 + z) - z; 0 log 0 = 0 */
{
    if (z <= -1 || u <= -1) return -z;
    return u * log1pl(z) + (fabsl(z) < 0x1p-7L ? series(z, 1) : log1pl(z) - z);
}

/* The terms of `rows` features x with n features y, one bin of weight 1: out[i * n + j]. `far`: those of far.h. */
static void terms(const kl_kernels *k, kl_shape shape, int single, int far, const double *x, int64_t rows,
                  const double *y, int64_t n, double number, double *out)
{
    static double left[64], right[COLS], zero[COLS], one[64], weight[1], values[64 * COLS];
    static uint32_t doubts[64 * COLS];
    const int64_t mr = single ? k->mr32 : k->mr64;
    for (int64_t i = 0; i < mr; i++) set(left, i, single, i < rows ? x[i] : 0);
    for (int64_t j = 0; j < COLS; j++) set(right, j, single, j < n ? y[j] : 0);
    for (int64_t i = 0; i < mr; i++) set(one, i, single, far);
    set(weight, 0, single, 1);
    kl_product_args a = {
        .left = left, .right = right, .row_offset = zero, .row_norm = zero, .row_slack = one, .col_offset = zero,
        .col_norm = zero, .col_slack = zero, .K = 1, .weights = weight, .number = number, .rows = rows, .cols = n,
        .accept = 1, .far_from = far, .far = {.base = -1e30}, /* far, whatever the value */
        .out = values, .out_stride = n, .doubts = doubts,
    };
    kl_stats stats = {0};
    k->dense[single][shape](&a, &stats);
    for (int64_t i = 0; i < rows * n; i++) out[i] = -get(values, i, single);
}

static double stored(double x, int single) { return single ? (double)(float)x : x; }

/* z of one feature alone: the term is within so many units of itself, in every cell and where cells meet, around 0,
 * near -1 and far out. */
static void fill_z(double *z, int64_t n, int form, int single)
{
    static const double middles[] = {0.75, 0.8125, 0.875, 0.9375, 1, 1.125, 1.25, 1.375, 1.5};
    const double below = (single ? 19 : 23) / 512.0; /* cells.h: below 1; twice that above */
    const double unit = single ? 0x1p-24 : 0x1p-53;
    for (int64_t i = 0; i < n; i++) {
        const double sign = random_bits() % 2 ? 1 : -1;
        switch (form) {
        case 0: z[i] = uniform(-0.3, 0.42); break;
        case 1: z[i] = middles[i % 9] - (i % 9 > 4 ? 2 : 1) * below - 1 + (double)(i / 9 - n / 18) * unit; break;
        case 2: z[i] = sign * ldexp(uniform(1, 2), -(int)(random_bits() % (single ? 60 : 500))); break;
        case 3: z[i] = -1 + ldexp(uniform(1, 2), -(int)(random_bits() % (single ? 25 : 54))); break;
        case 4: z[i] = -1 + (double)i * unit; break; /* the least that 1 + z can be, one after another */
        default: z[i] = ldexp(uniform(1, 2), (int)(random_bits() % 41));
        }
        z[i] = stored(z[i] < -1 ? -1 : z[i], single);
    }
}

/* Units of a JS term that it may be off by: 20 within the cell around 1 and where |z| > 0.2. Next to that cell half a
 * unit of log(b) is up to 60. */
static double allowed(double z) { return (z > -0.037 && z < 0.035) || fabs(z) > 0.2 ? 20 : 72; }

static void test_alone(const kl_kernels *k, int single)
{
    static double z[COLS], got[COLS];
    const double unit = single ? 0x1p-24 : 0x1p-53, none = 0;
    for (int form = 0; form < 6; form++)
        for (int pass = 0; pass < 24; pass++) {
            double worst = 0, at = 0;
            fill_z(z, COLS, form, single);
            terms(k, KL_SUM_JS, single, 0, &none, 1, z, COLS, 2, got);
            for (int64_t i = 0; i < COLS; i++) {
                const long double exact = term_over_q(z[i]);
                const double off = (double)(fabsl(got[i] - exact) / (exact * unit * allowed(z[i])));
                if (exact > 0 ? !(off <= worst) : got[i] != 0) worst = off, at = z[i];
            }
            CHECK(worst <= 1, "%s: JS, single %d, form %d: %.2f of the bound at z = %.17g", k->name, single, form,
                  worst, at);
        }
}

/* Ratios to the centre: empty, tiny, near 1, large; now and then both near the same number. */
static double ratio(double other)
{
    const int scale = (int)(random_bits() % 40);
    switch (random_bits() % 5) {
    case 0: return random_bits() % 4 ? ldexp(uniform(1, 2), -scale - 10) : 0;
    case 1: return 1 + ldexp(uniform(-1, 1), -scale);
    case 2: return ldexp(uniform(1, 2), (int)(random_bits() % 40));
    case 3: return other * (1 + ldexp(uniform(0, 1), -scale));
    default: return uniform(0, 4);
    }
}

static void test_pair_of(const kl_kernels *k, kl_shape shape, int single, double w)
{
    static double x[64], y[COLS], p[64], q[COLS], got[64 * COLS];
    const int skew = shape == KL_SUM_SKEW, rows = single ? k->mr32 : k->mr64;
    const double unit = single ? 0x1p-24 : 0x1p-53, number = stored(1 / w, single);
    const double units = skew ? (single ? 80 : 132) + 3.4 / w : 72; /* w = 1 - a */
    double worst = 0, at_p = 0, at_q = 0;
    for (int i = 0; i < rows; i++) p[i] = ratio(1), x[i] = stored(w * (p[i] - 1), single);
    for (int j = 0; j < COLS; j++) q[j] = ratio(p[j % rows]), y[j] = stored((1 - w) * (q[j] - 1), single);
    terms(k, shape, single, 0, x, rows, y, COLS, number, got);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < COLS; j++) {
            const long double z = (long double)x[i] + y[j], u = (long double)x[i] * number;
            const long double exact = skew ? skewed(u, z) : term_over_q(z);
            const long double size = (skew ? 1 : w) * term_over_q(x[i] / (long double)w)
                                   + (1 - w) * term_over_q(y[j] / (1 - (long double)w));
            const double off = (double)(fabsl(got[i * COLS + j] - exact) / (units * unit * size));
            if (size > 0 ? !(off <= worst) : got[i * COLS + j] != 0) worst = off, at_p = p[i], at_q = q[j];
        }
    CHECK(worst <= 1, "%s: shape %d, single %d, w = %g: %.2f of the bound at p/c = %.17g, q/c = %.17g", k->name, shape,
          single, w, worst, at_p, at_q);
}

/* f log(f) or p log(f), f = m/c and p (of p/c) made of two features, and the units of roundoff that it may be off by: a
 * bin's part in the bound of plan.far_certificate. p is at most gain f. */
static long double far_term(kl_shape shape, int single, double number, double x, double y, double *off)
{
    const double range = single ? 19 : 40, log_units = single ? 9 : 38;
    const long double z = (long double)x + y, f = z > -1 ? 1 + z : 0, log = f > 0 ? logl(f) : 0;
    const double p = fmax(0, 1 + x * number), size = f > 0 ? fmin(fabs((double)log), range) : range;
    if (shape == KL_SUM_SKEW) *off = 37 * number + p * (4 + log_units + 8 * size) + 4 * (1 + p) * size;
    else *off = (5 + 4 * (double)f) * (1 + size) + (double)f * (log_units + 7 * size);
    return (shape == KL_SUM_SKEW ? p : f) * log;
}

/* Returns how much of the bound is reached. */
static double test_far_pair_of(const kl_kernels *k, kl_shape shape, int single, double w)
{
    static double x[64], y[COLS], got[64 * COLS];
    const int rows = single ? k->mr32 : k->mr64;
    const double unit = single ? 0x1p-24 : 0x1p-53, number = stored(shape == KL_SUM_SKEW ? 1 / w : w, single);
    const double least[2] = {stored(w, single), stored(1 - w, single)};
    double worst = 0, at_x = 0, at_y = 0;
    for (int i = 0; i < rows; i++) x[i] = fmax(stored(w * (ratio(1) - 1), single), -least[0]);
    for (int j = 0; j < COLS; j++) y[j] = fmax(stored((1 - w) * (ratio(1) - 1), single), -least[1]);
    terms(k, shape, single, 1, x, rows, y, COLS, number, got);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < COLS; j++) {
            double off;
            const long double exact = far_term(shape, single, number, x[i], y[j], &off);
            const double miss = (double)fabsl(got[i * COLS + j] - exact) / (unit * off);
            if (!(miss <= worst)) worst = miss, at_x = x[i], at_y = y[j];
        }
    CHECK(worst <= 1, "%s: far, shape %d, single %d, w = %g: %.2f of the bound at x = %.17g, y = %.17g", k->name, shape,
          single, w, worst, at_x, at_y);
    return worst;
}

/* ---- their sums over many bins ---- */

enum { SUM_BINS = 513, SUM_PANELS = 2 * 32, SUM_VALUES = SUM_PANELS * SUM_PANELS };

/* Of p or q, whose weight is `share`: empty, near the centre, or such that no bin outweighs the others. */
static double far_feature(double share, int single)
{
    const uint64_t form = random_bits() % 8;
    const double other = form == 0 ? 0 : form == 1 ? 1 + uniform(-1e-3, 1e-3) : exp(uniform(-4, 2));
    return fmax(stored(share * (other - 1), single), -stored(share, single));
}

/* Two panels of rows and two of columns, one row and one column short of full. */
static kl_product_args far_sums(const kl_kernels *k, kl_shape shape, int single, double w, int64_t K, side s, region *r)
{
    static double zero[SUM_PANELS], row_slack[SUM_PANELS], col_slack[SUM_PANELS];
    static uint32_t doubts[SUM_VALUES];
    const int64_t mr = single ? k->mr32 : k->mr64, nr = single ? k->nr32 : k->nr64;
    const size_t size = single ? 4 : 8;
    void *left = place(r[0], (size_t)(2 * mr * K) * size, s), *right = place(r[1], (size_t)(2 * nr * K) * size, s);
    void *weights = place(r[2], (size_t)K * size, s);
    for (int64_t i = 0; i < 2 * mr * K; i++) set(left, i, single, far_feature(w, single));
    for (int64_t i = 0; i < 2 * nr * K; i++) set(right, i, single, far_feature(1 - w, single));
    for (int64_t i = 0; i < K; i++) set(weights, i, single, uniform(0.02, 1.5));
    for (int64_t i = 0; i < SUM_PANELS; i++) { /* far are pairs whose slacks add up to 1 / far_from */
        set(row_slack, i, single, 0.25 * (double)(1 + random_bits() % 3));
        set(col_slack, i, single, 0.25 * (double)(1 + random_bits() % 3));
    }
    return (kl_product_args){
        .left = left, .right = right, .row_offset = zero, .row_norm = zero, .row_slack = row_slack, .col_offset = zero,
        .col_norm = zero, .col_slack = col_slack, .K = K, .weights = weights,
        .number = stored(shape == KL_SUM_SKEW ? 1 / w : w, single), .rows = 2 * mr - 1, .cols = 2 * nr - 1, .accept = 1,
        .far = {.base = -1e30}, .out_stride = 2 * nr - 1, .doubts = doubts,
    };
}

/* What the sum of row i and column j is off by, as a part of its bound: those of its bins, and the additions. */
static double far_miss(const kl_kernels *k, kl_shape shape, int single, const kl_product_args *a, int64_t i, int64_t j)
{
    const int64_t mr = single ? k->mr32 : k->mr64, nr = single ? k->nr32 : k->nr64, K = a->K, parts = (K + 31) / 32;
    const int64_t additions = (K < 32 ? K : 32) + (parts < 8 ? parts : 8) + (K + 255) / 256;
    const long double unit = single ? 0x1p-24L : 0x1p-53L;
    long double sum = 0, allowed = 0;
    for (int64_t t = 0; t < K; t++) {
        const double c = get(a->weights, t, single), x = get(a->left, i / mr * mr * K + t * mr + i % mr, single);
        const double y = get(a->right, j / nr * nr * K + t * nr + j % nr, single);
        double off;
        const long double term = far_term(shape, single, a->number, x, y, &off);
        sum += c * term, allowed += c * (off + (double)additions * fabsl(term));
    }
    return (double)(fabsl(-get(a->out, i * a->out_stride + j, single) - sum) / (unit * allowed));
}

/* Chains of bins, and what is left of one: within the bound. Where pairs of a tile take different forms, each has the
 * value that it has where all take its own. */
static void test_far_sums(const kl_kernels *k, kl_shape shape, int single, double w, int64_t K, side s, region *r)
{
    static double values[3][SUM_VALUES];
    kl_product_args a = far_sums(k, shape, single, w, K, s, r);
    double worst = 0;
    int same = 1;
    for (int form = 0; form < 3; form++) { /* none far, some, all */
        kl_stats stats = {0};
        a.far_from = form == 2 ? 4 : form, a.out = values[form];
        k->dense[single][shape](&a, &stats);
    }
    for (int64_t i = 0; i < a.rows; i++)
        for (int64_t j = 0; j < a.cols; j++) {
            const int64_t at = i * a.out_stride + j;
            const int far = get(a.row_slack, i, single) + get(a.col_slack, j, single) >= 1;
            const double miss = far_miss(k, shape, single, &a, i, j);
            if (!(miss <= worst)) worst = miss;
            same &= get(values[1], at, single) == get(values[far ? 2 : 0], at, single);
        }
    CHECK(worst <= 1, "%s: far sums, shape %d, single %d, w = %g, %ld bins: %.2f of the bound", k->name, shape, single,
          w, (long)K, worst);
    CHECK(worst > 0.001, "%s: far sums, shape %d, single %d, %ld bins: never off by a thousandth of the bound", k->name,
          shape, single, (long)K);
    CHECK(same, "%s: shape %d, single %d, %ld bins: far values depend on their tile", k->name, shape, single, (long)K);
}

static void test_far_chains(const kl_kernels *k)
{
    const int64_t bins[] = {1, 31, 32, 33, 64, 65, 100, 256, 257, 300, SUM_BINS};
    const double shares[] = {0.5, 0.1, 0.999};
    const size_t features = (size_t)SUM_PANELS * SUM_BINS * 8;
    region r[3] = {region_new(features), region_new(features), region_new(SUM_BINS * 8)};
    for (int form = 0; form < 8; form++)
        for (int l = 0; l < 11; l++)
            test_far_sums(k, form & 1 ? KL_SUM_SKEW : KL_SUM_JS, form >> 1 & 1, shares[(l + form) % 3], bins[l],
                          form & 4 ? AT_START : AT_END, r);
}

void test_terms(const kl_kernels *k)
{
    const double shares[] = {0.5, 0.1, 0.9, 0.999, 0.01};
    for (int single = 0; single < 2; single++) {
        test_alone(k, single);
        for (kl_shape shape = KL_SUM_JS; shape <= KL_SUM_SKEW; shape++) {
            double worst = 0;
            for (int pass = 0; pass < 30; pass++) {
                test_pair_of(k, shape, single, shares[pass % 5]);
                worst = fmax(worst, test_far_pair_of(k, shape, single, shares[pass % 5]));
            }
            CHECK(worst > 0.2, "%s: far, shape %d, single %d: never off by a fifth of the bound", k->name, shape, single);
        }
    }
    test_far_chains(k);
}

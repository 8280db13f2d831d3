/* The terms of the sums over bins one by one. The certificate allows each 84 units of roundoff of what its bin adds to
 * the two offsets, SKEW in float64 140, and 4 / (1 - a) more (plan.sum_certificate); asked for here are six sevenths. */
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
static long double mixture(long double z)
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
                const long double exact = mixture(z[i]);
                const double off = (double)(fabsl(got[i] - exact) / (exact * unit * allowed(z[i])));
                if (exact > 0 ? !(off <= worst) : got[i] != 0) worst = off, at = z[i];
            }
            CHECK(worst <= 1, "%s: JS, single %d, form %d: %.2f of the bound at z = %.17g", k->name, single, form, worst, at);
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
            const long double exact = skew ? skewed(u, z) : mixture(z);
            const long double size = (skew ? 1 : w) * mixture(x[i] / (long double)w)
                                   + (1 - w) * mixture(y[j] / (1 - (long double)w));
            const double off = (double)(fabsl(got[i * COLS + j] - exact) / (units * unit * size));
            if (size > 0 ? !(off <= worst) : got[i * COLS + j] != 0) worst = off, at_p = p[i], at_q = q[j];
        }
    CHECK(worst <= 1, "%s: shape %d, single %d, w = %g: %.2f of the bound at p/c = %.17g, q/c = %.17g", k->name, shape,
          single, w, worst, at_p, at_q);
}

/* f log(f) and p log(f), f = m/c and p (of p/c) made of two features: of the bound of plan.far_certificate what a bin
 * adds to it. p is at most gain f. */
static void test_far_pair_of(const kl_kernels *k, kl_shape shape, int single, double w)
{
    static double x[64], y[COLS], got[64 * COLS];
    const int skew = shape == KL_SUM_SKEW, rows = single ? k->mr32 : k->mr64;
    const double unit = single ? 0x1p-24 : 0x1p-53, number = stored(skew ? 1 / w : w, single), range = single ? 19 : 40;
    const double least[2] = {stored(w, single), stored(1 - w, single)}, log_units = single ? 9 : 38;
    double worst = 0, at_x = 0, at_y = 0;
    for (int i = 0; i < rows; i++) x[i] = fmax(stored(w * (ratio(1) - 1), single), -least[0]);
    for (int j = 0; j < COLS; j++) y[j] = fmax(stored((1 - w) * (ratio(1) - 1), single), -least[1]);
    terms(k, shape, single, 1, x, rows, y, COLS, number, got);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < COLS; j++) {
            const long double z = (long double)x[i] + y[j], f = z > -1 ? 1 + z : 0, log = f > 0 ? logl(f) : 0;
            const double p = fmax(0, 1 + x[i] * number), size = f > 0 ? fmin(fabs((double)log), range) : range;
            const long double exact = (skew ? p : f) * log;
            const double off = (5 + 4 * (double)f) * (1 + size) + (double)f * (log_units + 7 * size);
            const double skew_off = 37 * number + p * (4 + log_units + 8 * size) + 4 * (1 + p) * size;
            const double miss = (double)fabsl(got[i * COLS + j] - exact) / (unit * (skew ? skew_off : off));
            if (!(miss <= worst)) worst = miss, at_x = x[i], at_y = y[j];
        }
    CHECK(worst <= 1, "%s: far, shape %d, single %d, w = %g: %.2f of the bound at x = %.17g, y = %.17g", k->name, shape,
          single, w, worst, at_x, at_y);
    CHECK(worst > 0.01, "%s: far, shape %d, single %d: never off by a hundredth of the bound", k->name, shape, single);
}

void test_terms(const kl_kernels *k)
{
    const double shares[] = {0.5, 0.1, 0.9, 0.999, 0.01};
    for (int single = 0; single < 2; single++) {
        test_alone(k, single);
        for (int pass = 0; pass < 30; pass++)
            for (kl_shape shape = KL_SUM_JS; shape <= KL_SUM_SKEW; shape++)
                test_pair_of(k, shape, single, shares[pass % 5]), test_far_pair_of(k, shape, single, shares[pass % 5]);
    }
}

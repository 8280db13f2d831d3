/* Offsets, of mean rows four at a time, to units of roundoff: near the centre, where all but the second order cancels,
 * and far from it. Rows in float32, which are read where they lie, give the same bits as in float64. */
#include "check.h"

#include <string.h>

enum { ROWS = 22, BINS = MOST_BINS };

/* The contract has room for 26, and in float32 for 4 (klfast/plan.py: OFFSET_UNITS). */
#define UNITS 22
#define UNITS_OF_FLOAT32 1.1 /* of which 1 is the conversion */

static const kl_divergence itself = {.kind = KL_KL, .finish = KL_LINEAR, .number = 1, .factor = 1};

/* Rows about one another at a distance of about `spread`; of 0, anywhere, with empty bins, and `tiny` ones. */
static void fill(double *x, int64_t K, double spread, double tiny)
{
    double about[BINS];
    for (int64_t b = 0; b < K; b++) about[b] = exp(uniform(-8, 0));
    for (int64_t i = 0; i < ROWS; i++)
        for (int64_t b = 0; b < K; b++) {
            double *p = x + i * K + b;
            *p = spread > 0 ? about[b] * (1 + spread * uniform(-1, 1)) : exp(uniform(-40, 0));
            if (spread == 0 && b && random_bits() % 8 == 0) *p = random_bits() % 2 ? 0 : tiny;
        }
    for (int64_t b = 0; b < K && spread == 0; b++) x[b] = 1; /* each bin has mass somewhere */
}

/* An offset by its definition: of natural rows what G has on the row's support, less what is missing. */
static long double exact_offset(const double *x, int64_t K, kl_role role, const double *c, long double *spread)
{
    long double sum = 0, offset = 0;
    *spread = 0;
    for (int64_t b = 0; b < K; b++) sum += x[b];
    for (int64_t b = 0; b < K; b++) {
        const long double w = x[b] / sum / c[b], z = (x[b] / sum - c[b]) / c[b], log = z < -0.5L ? logl(w) : log1pl(z);
        const long double of_empty = role == KL_MEAN ? 1 : -1, full = role == KL_MEAN ? w * log - z : z - log;
        const long double term = c[b] * (x[b] > 0 ? full : of_empty);
        offset += term;
        *spread += fabsl(term);
    }
    return offset;
}

static void check_offsets(const kl_kernels *k, const kl_encode_args *a, const double *x, int64_t K, double spread)
{
    double worst = 0, bound = 1;
    for (int64_t i = 0; i < ROWS; i++) {
        long double size;
        const long double offset = exact_offset(x + i * K, K, a->role, a->center->probs, &size);
        if (size < 1e-6L) continue; /* by chance: nearer than long double tells */
        const double slack = get(a->slack, i, a->single), got = get(a->offset, i, a->single);
        if (a->role == KL_NATURAL && isinf(slack)) continue; /* tiny bins: to the direct kernel */
        const double units = (double)(fabsl(got - offset) / size) * (a->single ? 0x1p24 : 0x1p53);
        worst = units > worst ? units : worst;
        bound = slack >= (double)size * (a->single ? 1 - 0.1 * 0x1p-24 : 1) ? bound : 0; /* 1.001 covers it */
    }
    CHECK(worst <= (a->single ? UNITS_OF_FLOAT32 : UNITS) && bound == 1,
          "%s: offsets of %ld bins, role %d, single %d, spread %g, off by %g units", k->name, (long)K, a->role,
          a->single, spread, worst);
}

static center_of_rows center;
static double scratch[8 * BINS];

/* Rows are checked, added up to a centre and encoded; everything that is left of them in `features` and `numbers`. */
static kl_encode_args encode(const kl_kernels *k, const kl_rows *rows, kl_role role, int single, kl_norm *norms,
                             double *features, double (*numbers)[64])
{
    kl_stats stats = {0};
    int32_t zeros = 0;
    k->scan(rows, 0, ROWS, -1, norms, &zeros, scratch, &stats);
    kl_encode_args a = {
        .divergence = &itself, .rows = rows, .norms = norms, .center = &center.c, .end = ROWS, .role = role,
        .single = single, .width = single ? k->mr32 : k->mr64, .norm_factor = 1, .slack_factor = 1 + 0x1p-40,
        .slack_floor = 0, .scratch = scratch,
        .features = features, .offset = numbers[0], .norm = numbers[1], .slack = numbers[2],
    };
    k->encode(&a, &stats);
    memset(numbers[3], 0, sizeof numbers[3] * 5);
    k->accumulate(rows, norms, 0, ROWS, numbers[3], scratch, &stats);
    return a;
}

static void test_offsets_of(const kl_kernels *k, kl_role role, int single)
{
    static double x[ROWS * BINS], features[64 * BINS], numbers[8][64];
    const double spreads[] = {0, 1, 0.3, 0.1, 0.03, 0.01};
    for (int l = 2; l < n_lengths; l++)
        for (int t = 0; t < 24; t++) {
            const int64_t K = lengths[l];
            const kl_rows rows = matrix(x, ROWS, K, KL_PROBS);
            kl_norm norms[ROWS];
            fill(x, K, spreads[t % 6], t % 12 < 6 ? 0x1p-1060 : 0);
            make_center(k, x, ROWS, K, KL_PROBS, &center);
            const kl_encode_args a = encode(k, &rows, role, single, norms, features, numbers);
            check_offsets(k, &a, x, K, spreads[t % 6]);
        }
}

void test_offsets(const kl_kernels *k)
{
    for (int single = 0; single < 2; single++) {
        test_offsets_of(k, KL_MEAN, single);
        test_offsets_of(k, KL_NATURAL, single);
    }
}

void test_float32_rows(const kl_kernels *k)
{
    static double x[ROWS * BINS], features[2][64 * BINS], numbers[2][8][64];
    static float narrow[ROWS * BINS];
    for (int l = 2; l < n_lengths; l++)
        for (int t = 0; t < 16; t++) {
            const int64_t K = lengths[l];
            const kl_rows wide = matrix(x, ROWS, K, t & 1 ? KL_MEASURE : KL_PROBS);
            kl_rows rows = wide;
            kl_norm norms[2][ROWS];
            fill(x, K, t & 2 ? 0.1 : 0, 0x1p-20);
            for (int64_t i = 0; i < ROWS * K; i++) x[i] = narrow[i] = (float)x[i];
            rows.data = (const char *)narrow, rows.storage = KL_FLOAT32, rows.row_stride = K * 4, rows.col_stride = 4;
            make_center(k, x, ROWS, K, KL_PROBS, &center);
            encode(k, &wide, t & 4 ? KL_MEAN : KL_NATURAL, t >> 3, norms[0], features[0], numbers[0]);
            encode(k, &rows, t & 4 ? KL_MEAN : KL_NATURAL, t >> 3, norms[1], features[1], numbers[1]);
            CHECK(memcmp(norms[0], norms[1], sizeof norms[0]) == 0, "%s: scan of %ld float32 bins", k->name, (long)K);
            CHECK(memcmp(features[0], features[1], sizeof features[0]) == 0, "%s: features of %ld float32 bins, %d",
                  k->name, (long)K, t);
            CHECK(memcmp(numbers[0], numbers[1], sizeof numbers[0]) == 0, "%s: numbers of %ld float32 bins, %d",
                  k->name, (long)K, t);
        }
}

/* Offsets of mean rows, four at a time, to units of roundoff: near the centre, where all but the second order cancels,
 * and far from it. */
#include "check.h"

#include <string.h>

enum { ROWS = 22, BINS = MOST_BINS };

/* The contract has room for 26 (klfast/plan.py: OFFSET_UNITS). */
#define UNITS 22

static const kl_divergence itself = {.kind = KL_KL, .finish = KL_LINEAR, .number = 1, .factor = 1};

/* Rows about one another at a distance of about `spread`; of 0, anywhere, with small bins, and empty ones. */
static void fill(double *x, int64_t K, double spread)
{
    double about[BINS];
    for (int64_t b = 0; b < K; b++) about[b] = exp(uniform(-8, 0));
    for (int64_t i = 0; i < ROWS; i++)
        for (int64_t b = 0; b < K; b++) {
            double *p = x + i * K + b;
            *p = spread > 0 ? about[b] * (1 + spread * uniform(-1, 1)) : exp(uniform(-40, 0));
            if (spread == 0 && b && random_bits() % 8 == 0) *p = random_bits() % 2 ? 0 : 0x1p-1060;
        }
    for (int64_t b = 0; b < K && spread == 0; b++) x[b] = 1; /* each bin has mass somewhere */
}

static void check_offsets(const kl_kernels *k, const kl_encode_args *a, const double *x, int64_t K, double spread)
{
    double worst = 0, bound = 1;
    for (int64_t i = 0; i < ROWS; i++) {
        long double sum = 0, offset = 0;
        for (int64_t b = 0; b < K; b++) sum += x[i * K + b];
        for (int64_t b = 0; b < K; b++) {
            const long double c = a->center->probs[b], z = (x[i * K + b] / sum - c) / c;
            offset += c * (z > -1 ? (1 + z) * (z < -0.5L ? logl(x[i * K + b] / sum / c) : log1pl(z)) - z : 1);
        }
        if (offset < 1e-6L) continue; /* by chance: nearer than long double tells */
        const double units = (double)(fabsl(((double *)a->offset)[i] - offset) / offset) * 0x1p53;
        worst = units > worst ? units : worst;
        bound = ((double *)a->slack)[i] >= (double)offset ? bound : 0;
    }
    CHECK(worst <= UNITS && bound == 1, "%s: offsets of %ld bins, spread %g, off by %g units", k->name, (long)K, spread,
          worst);
}

void test_offsets(const kl_kernels *k)
{
    static double x[ROWS * BINS], scratch[8 * BINS], features[64 * BINS], numbers[3][64];
    const double spreads[] = {0, 1, 0.3, 0.1, 0.03, 0.01};
    static center_of_rows c;
    for (int l = 2; l < n_lengths; l++)
        for (int t = 0; t < 24; t++) {
            const int64_t K = lengths[l];
            kl_rows rows = matrix(x, ROWS, K, KL_PROBS);
            kl_norm norms[ROWS];
            kl_stats stats = {0};
            int32_t zeros = 0;
            fill(x, K, spreads[t % 6]);
            make_center(k, x, ROWS, K, KL_PROBS, &c);
            k->scan(&rows, 0, ROWS, -1, norms, &zeros, scratch, &stats);
            kl_encode_args a = {
                .divergence = &itself, .rows = &rows, .norms = norms, .center = &c.c, .end = ROWS, .role = KL_MEAN,
                .width = k->mr64, .norm_factor = 1, .slack_factor = 1 + 0x1p-40, .slack_floor = 0, .scratch = scratch,
                .features = features, .offset = numbers[0], .norm = numbers[1], .slack = numbers[2],
            };
            k->encode(&a, &stats);
            check_offsets(k, &a, x, K, spreads[t % 6]);
        }
}

/* Rows of logits whose values are rounded to float32: by short exponentials, but for those that might round wrongly. */
#include "check.h"

#include <string.h>

#define LN2 0x1.62e42fefa39efp-1
enum { LONG = 131, N = 40000 };

/* The sum of e^x by exponentials as short as those of logit_brief.h for more than 128 bins or near rows: of degree 4. */
static double brief_sum(const float *x, int64_t K, double *terms)
{
    static const double c[5] = {1, 0x1.ffffffb13431dp-1, 0x1.ffffffe5bc28ap-2, 0x1.555f955d596d1p-3,
                                0x1.555c2aab02002p-5};
    double sum = 0;
    for (int64_t i = 0; i < K; i++) {
        const double n = rint(x[i] * 8 / LN2), s = fma(-n, LN2 / 8, x[i]);
        sum += terms[i] = exp2(n / 8) * ((((c[4] * s + c[3]) * s + c[2]) * s + c[1]) * s + c[0]);
    }
    return sum;
}

static double brief_value(const float *p, const float *q, int64_t K)
{
    double u[LONG], w[LONG], linear = 0;
    const double a = brief_sum(p, K, u), b = brief_sum(q, K, w);
    for (int64_t i = 0; i < K; i++) linear += u[i] * ((double)p[i] - q[i]);
    return linear / a + log(b / a);
}

/* Of near rows: log(sum p e^x) - sum p x, x = q - p, as G + log1p(G + M) - (G + M), with such weights p. */
static double brief_near_value(const float *p, const float *q, int64_t K)
{
    double u[LONG], g = 0, m = 0;
    const double a = brief_sum(p, K, u);
    for (int64_t i = 0; i < K; i++) {
        const double x = (double)q[i] - p[i];
        g += u[i] * (expm1(x) - x) / a, m += u[i] * x / a;
    }
    return g + (log1p(g + m) - (g + m));
}

/* Numbers of its own: those of other tests stay what they are. */
static float next_logit(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
    return (float)((double)(*state >> 40) * 0x1p-22 - 2) * 1.5f;
}

static kl_rows floats(const float *x, int64_t n, int64_t bins)
{
    kl_rows r = matrix((const double *)(const void *)x, n, bins, KL_LOGITS);
    r.storage = KL_FLOAT32, r.col_stride = 4, r.row_stride = 4 * bins;
    return r;
}

/* Where the caller rounds to float32, most values come from short exponentials. Those that alone would give another
 * float32, whose number is returned, must be computed again, with finer ones or in full, and few others may be.
 * `factor`: that of another unit. */
static long test_brief_rows(const kl_kernels *k, int64_t K, int64_t n, int near, double factor, uint64_t *state)
{
    static float p[N * 19], q[N * 19];
    static double full[N], brief[N], scratch[LONG * 32];
    const kl_divergence f = {.kind = KL_KL, .finish = KL_LINEAR, .factor = factor};
    const double finest = near ? 0 : 1e-11; /* bits of the full form, or an error as of the finer exponentials */
    const float spread = K > 128 ? 8 : 1; /* few bins count, in whose errors there is no mean */
    kl_stats stats = {0};
    long wrong = 0, again = 0;
    for (int64_t i = 0; i < n * K; i++) {
        p[i] = spread * next_logit(state), q[i] = spread * next_logit(state);
        if (near) q[i] = p[i] + q[i] / (16 * spread);
    }
    const kl_rows P = floats(p, n, K), Q = floats(q, n, K);
    k->rowwise(&f, &P, &Q, 0, n, -1, -1, 0, full, scratch, &stats);
    k->rowwise(&f, &P, &Q, 0, n, -1, -1, 1, brief, scratch, &stats);
    for (int64_t r = 0; r < n; r++) {
        const float *a = p + r * K, *b = q + r * K;
        const double value = near ? brief_near_value(a, b, K) : brief_value(a, b, K);
        const int alone = (float)(value * factor) == (float)full[r], fine = fabs(brief[r] - full[r]) <= finest;
        CHECK((float)brief[r] == (float)full[r], "%s: row %ld of %ld bins: %.9g, not %.9g", k->name, (long)r, (long)K,
              (float)brief[r], (float)full[r]);
        CHECK(alone || fine, "%s: row %ld of %ld bins was not computed again", k->name, (long)r, (long)K);
        CHECK(near || K > 128 || fine, "%s: row %ld of %ld bins is off by %g", k->name, (long)r, (long)K,
              brief[r] - full[r]);
        wrong += !alone, again += fine;
    }
    CHECK(again >= wrong && (!(near || K > 128) || again < n / (near ? 20 : 2)),
          "%s: of %ld rows of %ld bins %ld wrong alone, %ld computed again", k->name, (long)n, (long)K, wrong, again);
    return wrong;
}

void test_brief_logits(const kl_kernels *k)
{
    uint64_t state = 1;
    for (int near = 0; near < 2; near++) {
        long wrong = 0, wrong_long = 0;
        for (int unit = 0; unit < 2; unit++) {
            wrong += test_brief_rows(k, 19, N, near, unit ? 1 / LN2 : 1, &state);
            wrong_long += test_brief_rows(k, LONG, N * 19 / LONG, near, unit ? 1 / LN2 : 1, &state);
        }
        CHECK(wrong > 0 && wrong_long > 0, "%s: %ld and %ld rows wrong alone", k->name, wrong, wrong_long);
    }
}

enum { PLAIN, OUTLIER, MASK, BOTH_MASKED, EQUAL, KINDS, NEAR_ROWS = 70, MOST = 300 };

static void fill_near(float *p, float *q, int64_t bins, int kind, float spread, float shift, uint64_t *state)
{
    const int64_t odd = (int64_t)(fabsf(next_logit(state)) * 1e6f) % bins;
    for (int64_t i = 0; i < bins; i++) {
        p[i] = next_logit(state);
        q[i] = p[i] + spread * next_logit(state);
        if (kind == EQUAL) q[i] = p[i] = rintf(p[i] * 1024) / 1024;
        q[i] += kind == EQUAL ? rintf(shift) : shift;
    }
    if (kind == OUTLIER) q[odd] += next_logit(state);
    if (kind == MASK || kind == BOTH_MASKED) p[odd] = -INFINITY;
    if (kind == BOTH_MASKED) q[odd] = -INFINITY;
}

/* Without their last 16 bits: bfloat16. */
static void cut(float *x, uint16_t *halves, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, 4);
        halves[i] = (uint16_t)(bits >> 16), bits &= 0xffff0000u;
        memcpy(x + i, &bits, 4);
    }
}

/* Halves, float32 and both: the same float32 answers as those of the full form for float32, masks among them. */
void test_brief_halves(const kl_kernels *k)
{
    static const int64_t bins[] = {8, 19, 256, 257, MOST};
    static float p[NEAR_ROWS * MOST], q[NEAR_ROWS * MOST];
    static uint16_t p_halves[NEAR_ROWS * MOST], q_halves[NEAR_ROWS * MOST];
    static double full[NEAR_ROWS], brief[NEAR_ROWS];
    const region spare = region_new(8 * 32 * MOST);
    const kl_divergence f = {.kind = KL_KL, .finish = KL_LINEAR, .factor = 1};
    uint64_t state = 3;
    for (int round = 0; round < 5 * 4 * 3; round++) {
        const int64_t n = bins[round % 5];
        const float spreads[] = {1, 0.1f, 1e-2f, 0.1f};
        const int which = round / 5 % 4, halves = round / 20;
        kl_stats stats = {0};
        for (int64_t r = 0; r < NEAR_ROWS; r++)
            fill_near(p + r * n, q + r * n, n, which == 3 ? BOTH_MASKED : PLAIN, spreads[which], 0.5f, &state);
        cut(p, p_halves, NEAR_ROWS * n), cut(q, q_halves, NEAR_ROWS * n);
        kl_rows P = floats(p, NEAR_ROWS, n), Q = floats(q, NEAR_ROWS, n);
        double *scratch = place(spare, (size_t)n * 8 * (n <= 256 ? 32 : 4), AT_END);
        k->rowwise(&f, &P, &Q, 0, NEAR_ROWS, -1, -1, 0, full, scratch, &stats);
        if (halves != 1) P.storage = KL_BFLOAT16, P.data = (const char *)p_halves;
        if (P.storage == KL_BFLOAT16) P.col_stride = 2, P.row_stride = 2 * n;
        if (halves != 2) Q.storage = KL_BFLOAT16, Q.data = (const char *)q_halves;
        if (Q.storage == KL_BFLOAT16) Q.col_stride = 2, Q.row_stride = 2 * n;
        k->rowwise(&f, &P, &Q, 3, NEAR_ROWS, -1, -1, 1, brief, scratch, &stats);
        for (int64_t r = 3; r < NEAR_ROWS; r++)
            CHECK((float)brief[r] == (float)full[r], "%s: %ld bins, halves: row %ld: %.9g, not %.9g", k->name, (long)n,
                  (long)r, (float)brief[r], (float)full[r]);
    }
}

/* Near rows as near as float32 allows, shifted, with an outlier or masks, or equal: the values of the full form,
 * rounded. Few of the plain ones may be computed again. */
void test_brief_near(const kl_kernels *k)
{
    static const int64_t bins[] = {8, 9, 15, 64, 65, MOST};
    static const float shifts[] = {0, 3.7f, 100, -1e-3f};
    static float p[NEAR_ROWS * MOST], q[NEAR_ROWS * MOST];
    static double full[NEAR_ROWS], brief[NEAR_ROWS], scratch[MOST * 32];
    const kl_divergence f = {.kind = KL_KL, .finish = KL_LINEAR, .factor = 1};
    uint64_t state = 2;
    long plain = 0, again = 0;
    for (int b = 0; b < 6; b++)
        for (int kind = 0; kind < KINDS; kind++)
            for (int e = 0; e < 14; e++)
                for (int s = 0; s < 4; s++) {
                    const int64_t n = bins[b];
                    const float spread = powf(10, -0.5f * (float)e);
                    kl_stats stats = {0};
                    for (int64_t r = 0; r < NEAR_ROWS; r++)
                        fill_near(p + r * n, q + r * n, n, kind, spread, shifts[s], &state);
                    const kl_rows P = floats(p, NEAR_ROWS, n), Q = floats(q, NEAR_ROWS, n);
                    k->rowwise(&f, &P, &Q, 0, NEAR_ROWS, -1, -1, 0, full, scratch, &stats);
                    k->rowwise(&f, &P, &Q, 0, NEAR_ROWS, -1, -1, 1, brief, scratch, &stats);
                    for (int64_t r = 0; r < NEAR_ROWS; r++) {
                        const float value = (float)brief[r], exact = (float)full[r];
                        CHECK(value == exact && !signbit(value), "%s: %ld bins, kind %d, spread %g, shift %g: %.9g, "
                              "not %.9g", k->name, (long)n, kind, (double)spread, (double)shifts[s], value, exact);
                        CHECK(kind != EQUAL || value == 0, "%s: equal rows: %g", k->name, value);
                        if (kind || spread > 0.2f || spread < 1e-4f) continue;
                        plain++;
                        again += brief[r] == full[r];
                    }
                }
    CHECK(again < plain / 20, "%s: of %ld near rows %ld computed again", k->name, plain, again);
}

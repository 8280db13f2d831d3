/* Rows of logits whose values are rounded to float32: by short exponentials, but for those that might round wrongly. */
#include "check.h"

#define LN2 0x1.62e42fefa39efp-1
enum { K = 19, N = 40000 };

/* The sum of e^x by exponentials as short as those of logit_brief.h: a polynomial of degree 4. */
static double brief_sum(const float *x, double *terms)
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

static double brief_value(const float *p, const float *q)
{
    double u[K], w[K], linear = 0;
    const double a = brief_sum(p, u), b = brief_sum(q, w);
    for (int64_t i = 0; i < K; i++) linear += u[i] * ((double)p[i] - q[i]);
    return linear / a + log(b / a);
}

/* Numbers of its own: those of other tests stay what they are. */
static float next_logit(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
    return (float)((double)(*state >> 40) * 0x1p-22 - 2) * 1.5f;
}

/* Where the caller rounds to float32, most values come from short exponentials. Those that alone would give another
 * float32 must be computed again, and few others may be. `factor`: that of another unit. */
void test_brief_logits(const kl_kernels *k)
{
    static float p[N * K], q[N * K];
    static double full[N], brief[N], scratch[K * 32];
    uint64_t state = 1;
    for (int unit = 0; unit < 2; unit++) {
        kl_divergence f = {.kind = KL_KL, .finish = KL_LINEAR, .factor = unit ? 1 / LN2 : 1};
        kl_stats stats = {0};
        long wrong = 0, again = 0;
        for (int64_t i = 0; i < N * K; i++) p[i] = next_logit(&state), q[i] = next_logit(&state);
        kl_rows P = matrix((const double *)(const void *)p, N, K, KL_LOGITS), Q = P;
        P.storage = Q.storage = KL_FLOAT32, Q.data = (const char *)q;
        P.col_stride = Q.col_stride = 4, P.row_stride = Q.row_stride = 4 * K;
        k->rowwise(&f, &P, &Q, 0, N, -1, -1, 0, full, scratch, &stats);
        k->rowwise(&f, &P, &Q, 0, N, -1, -1, 1, brief, scratch, &stats);
        for (int64_t r = 0; r < N; r++) {
            const int alone = (float)(brief_value(p + r * K, q + r * K) * f.factor) == (float)full[r];
            CHECK((float)brief[r] == (float)full[r], "%s: row %ld: %.9g, not %.9g", k->name, (long)r, (float)brief[r],
                  (float)full[r]);
            CHECK(alone || brief[r] == full[r], "%s: row %ld was not computed again", k->name, (long)r);
            wrong += !alone;
            again += brief[r] == full[r];
        }
        CHECK(wrong > 0 && again >= wrong && again < N / 20, "%s: of %d rows %ld wrong alone, %ld computed again",
              k->name, N, wrong, again);
    }
}

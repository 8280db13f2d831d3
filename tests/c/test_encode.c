/* Encoding of rows as features against their definitions in long double. */
#include "check.h"

#include <string.h>

enum { MOST = MOST_BINS, ROWS = MOST_ROWS };

void make_center(const kl_kernels *k, const double *x, int64_t n, int64_t K, kl_domain domain, center_of_rows *c)
{
    kl_rows rows = matrix(x, n, K, domain), alone = matrix(c->row, 1, K, domain);
    kl_norm norms[ROWS];
    kl_stats stats = {0};
    int32_t zeros = 0;
    double scratch[MOST];
    memset(c->probs, 0, sizeof c->probs);
    c->c.balance = 1;
    k->scan(&rows, 0, n, -1, norms, &zeros, scratch, &stats);
    k->accumulate(&rows, norms, 0, n, c->probs, scratch, &stats);
    for (int64_t i = 0; i < K; i++) {
        c->probs[i] /= (double)n;
        c->row[i] = domain == KL_LOGITS ? log(c->probs[i]) : c->probs[i];
    }
    k->scan(&alone, 0, 1, -1, &c->c.norm, &zeros, scratch, &stats);
    double weights = 0;
    for (int64_t i = 0; i < K && domain == KL_LOGITS; i++) weights += c->probs[i] = exp(c->row[i] - c->c.norm.a);
    for (int64_t i = 0; i < K; i++) {
        if (domain == KL_LOGITS) c->probs[i] /= weights;
        c->scale[i] = c->probs[i] > 0 ? 1 / sqrt(c->probs[i]) : 0;
        c->unscale[i] = c->probs[i] > 0 ? 1 / c->scale[i] : 0;
        c->inverse[i] = c->probs[i] > 0 ? 1 / c->probs[i] : 0;
    }
    c->c.row = c->row, c->c.probs = c->probs, c->c.scale = c->scale, c->c.unscale = c->unscale;
    c->c.inverse = c->inverse;
}

/* Features and offset of one row by their definitions; also what each feature's error may be. */
static void expected_features(const double *x, int64_t K, kl_domain domain, kl_role role, const center_of_rows *c,
                              long double *feature, long double *room, long double *offset, long double *spread)
{
    long double top = -INFINITY, sum = 0, p[MOST];
    for (int64_t i = 0; i < K; i++) top = x[i] > top ? x[i] : top;
    for (int64_t i = 0; i < K; i++) sum += p[i] = domain == KL_PROBS ? x[i] : expl(x[i] - top);
    *offset = *spread = 0;
    for (int64_t i = 0; i < K; i++) {
        long double term;
        const long double ci = c->probs[i], pi = p[i] / sum;
        const int off = pi == 0 || ci == 0;
        if (role == KL_MEAN) {
            feature[i] = (pi - ci) * c->scale[i];
            room[i] = (pi + ci) * c->scale[i];
            term = pi > 0 ? pi * logl(pi / ci) - pi + ci : ci;
        } else {
            feature[i] = off ? 0 : logl(pi / ci) * c->unscale[i];
            room[i] = off ? 0 : (1 + fabsl(logl(pi / ci))) * c->unscale[i];
            term = off ? -ci : ci * logl(ci / pi) - ci + pi; /* G on the row's support, less what is missing */
        }
        *offset += term;
        *spread += fabsl(term);
    }
}

static void check_row(const kl_kernels *k, const kl_encode_args *a, const double *x, int64_t r, int64_t K, int domain,
                      const center_of_rows *c)
{
    const int64_t base = r / a->width * a->width * K + r % a->width;
    long double feature[MOST], room[MOST], offset, spread, norm2 = 0;
    const double unit = a->single ? 0x1p-24 : 0;
    int right = 1;
    expected_features(x, K, domain, a->role, c, feature, room, &offset, &spread);
    for (int64_t i = 0; i < K; i++) {
        double got = get(a->features, base + i * a->width, a->single);
        right &= fabsl(got - feature[i]) <= 3e-15L * room[i] + 1.01L * unit * fabsl(feature[i]);
        norm2 += feature[i] * feature[i];
    }
    CHECK(right, "%s: features, role %d, single %d, row %ld, %ld bins", k->name, a->role, a->single, (long)r, (long)K);
    double got = get(a->offset, r, a->single);
    CHECK(fabsl(got - offset) <= 1e-15L * (1 + 10 * spread) + unit * fabsl(offset),
          "%s: offset %.17g, not %.17Lg, role %d, %ld bins",
          k->name, got, offset, a->role, (long)K);
    double norm = get(a->norm, r, a->single);
    long double exact = sqrtl(norm2) * a->norm_factor;
    CHECK(norm >= exact * (1 - 1e-13L) - 2e-15L && norm <= exact * 1.000001L + 2e-15L, "%s: norm %.17g, not %.17Lg",
          k->name, norm, exact); /* a row equal to the centre is all rounding */
    double slack = get(a->slack, r, a->single);
    CHECK(slack >= a->slack_factor * fabsl(offset) * (1 - 1e-6L) && slack >= a->slack_floor, "%s: slack %g", k->name,
          slack);
    if (!a->support) return;
    const double empty = domain == KL_PROBS ? 0 : -INFINITY;
    const int64_t words = (K + 63) / 64;
    int same = 1;
    for (int64_t i = 0; i < words * 64; i++)
        same &= (int)(a->support[r * words + i / 64] >> i % 64 & 1) == (i < K && x[i] != empty);
    CHECK(same, "%s: support of row %ld, %ld bins", k->name, (long)r, (long)K);
}

static const kl_divergence itself = {.kind = KL_KL, .finish = KL_LINEAR, .factor = 1};

static void test_encode(const kl_kernels *k, int64_t K, int64_t n, kl_domain domain, kl_role role, int single, side s,
                        region *r)
{
    static center_of_rows c;
    const int64_t width = role == KL_MEAN ? (single ? k->mr32 : k->mr64) : (single ? k->nr32 : k->nr64);
    const int64_t padded = (n + width - 1) / width * width, words = (K + 63) / 64;
    const size_t size = single ? 4 : 8;
    double *x = place(r[0], (size_t)(n * K) * 8, s);
    for (int64_t i = 0; i < n * K; i++) {
        x[i] = domain == KL_PROBS ? exp(uniform(-5, 0)) : uniform(-5, 1);
        if (i % K && random_bits() % 4 == 0) x[i] = domain == KL_PROBS ? 0 : -INFINITY;
    }
    kl_rows rows = matrix(x, n, K, domain);
    kl_norm norms[ROWS];
    kl_stats stats = {0};
    int32_t zeros = 0;
    double *scratch = place(r[1], (size_t)kl_scratch_of(&itself, &rows) * 8, s);
    make_center(k, x, n, K, domain, &c);
    k->scan(&rows, 0, n, -1, norms, &zeros, scratch, &stats);
    kl_encode_args a = {
        .divergence = &itself, .rows = &rows, .norms = norms, .center = &c.c, .begin = 0, .end = n, .role = role,
        .single = single,
        .width = (int32_t)width, .norm_factor = 1.5, .slack_factor = 1e-3, .slack_floor = 1e-20, .scratch = scratch,
        .features = place(r[2], (size_t)(padded * K) * size, s), .offset = place(r[3], (size_t)padded * size, s),
        .norm = place(r[4], (size_t)padded * size, s), .slack = place(r[5], (size_t)padded * size, s),
        .support = place(r[6], (size_t)(n * words) * 8, s),
    };
    k->encode(&a, &stats);
    CHECK(stats.isa_ran == k->bit, "%s: encode ran %u", k->name, stats.isa_ran);
    for (int64_t i = 0; i < n; i++) check_row(k, &a, x + i * K, i, K, domain, &c);
    int empty = 1;
    for (int64_t i = n; i < padded; i++) {
        const int64_t base = i / width * width * K + i % width;
        for (int64_t b = 0; b < K; b++)
            empty &= get(a.features, base + b * width, single) == 0;
        empty &= get(a.offset, i, single) == INFINITY;
    }
    CHECK(empty, "%s: padding, %ld rows", k->name, (long)n);
}

void test_encoding(const kl_kernels *k)
{
    region r[7] = {region_new(8 * ROWS * MOST), region_new(8 * 8 * MOST), region_new(8 * 64 * MOST), region_new(8 * 64),
                   region_new(8 * 64), region_new(8 * 64), region_new(8 * ROWS * 8)};
    const int64_t counts[] = {1, 2, 5, 12, 33};
    for (int l = 1; l < n_lengths; l++)
        for (int i = 0; i < 5; i++)
            for (int form = 0; form < 16; form++)
                test_encode(k, lengths[l], counts[i], form & 1 ? KL_LOGITS : KL_PROBS, form & 2 ? KL_NATURAL : KL_MEAN,
                            form >> 2 & 1, form & 8 ? AT_END : AT_START, r);
}

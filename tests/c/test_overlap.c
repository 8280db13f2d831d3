/* KL_OVERLAP: rows encoded for sums p^s q^t, and its tiles, dense and screened, against the definition, for rows far
 * apart, with empty bins, in blocks and lanes of every length. */
#include "check.h"

double get(const void *x, int64_t i, int single);

enum { REGIONS = 20, MOST_PAIRS = 40 * 80 };

static region memory[REGIONS];
static center_of_rows center;

static void fill(double *x, int64_t n, int64_t K, kl_domain domain)
{
    for (int64_t i = 0; i < n * K; i++) {
        const int empty = i % K && random_bits() % 9 == 0;
        const double log = uniform(-30, 3);
        x[i] = domain == KL_LOGITS ? (empty ? -INFINITY : log) : empty ? 0 : exp(log);
    }
}

/* The sum by its definition; bins that either row leaves empty add nothing. */
static long double exact_sum(const double *p, const double *q, int64_t K, kl_domain domain, double s)
{
    long double of_p = 0, of_q = 0, sum = 0;
    for (int64_t k = 0; k < K; k++) {
        const long double x = domain == KL_LOGITS ? expl(p[k]) : p[k], y = domain == KL_LOGITS ? expl(q[k]) : q[k];
        of_p += x, of_q += y;
        if (x > 0 && y > 0) sum += powl(x, s) * powl(y, 1 - (long double)s);
    }
    return sum / powl(of_p, s) / powl(of_q, 1 - (long double)s);
}

typedef struct { void *features, *offset, *norm, *slack; } encoded;

#define ERROR(single) ((single) ? 0x1p-16 : 0x1p-45) /* more than any length of these tests loses */

static encoded encode(const kl_kernels *k, const kl_divergence *f, kl_role role, int single, const kl_rows *rows,
                      const kl_norm *norms, side s, region *r)
{
    const int64_t n = rows->n_rows, K = rows->n_cols;
    const int64_t width = role == KL_MEAN ? (single ? k->mr32 : k->mr64) : (single ? k->nr32 : k->nr64);
    const int64_t padded = (n + width - 1) / width * width;
    const size_t size = single ? 4 : 8;
    kl_stats stats = {0};
    kl_encode_args a = {
        .divergence = f, .rows = rows, .norms = norms, .center = &center.c, .begin = 0, .end = n, .role = role,
        .single = single, .width = (int32_t)width, .norm_factor = 1, .slack_factor = ERROR(single),
        .scratch = place(r[0], (size_t)kl_scratch_of(f, rows) * 8, s),
        .features = place(r[1], (size_t)(padded * K) * size, s), .offset = place(r[2], (size_t)padded * size, s),
        .norm = place(r[3], (size_t)padded * size, s), .slack = place(r[4], (size_t)padded * size, s),
    };
    k->encode(&a, &stats);
    CHECK(kl_shape_of(f) == KL_OVERLAP && stats.isa_ran == k->bit, "%s: encoding for overlaps", k->name);
    return (encoded){a.features, a.offset, a.norm, a.slack};
}

typedef struct {
    const kl_divergence *f;
    kl_product_args a;
    int64_t n, m, K;
    int single;
    const long double *sums; /* n x m */
} problem;

static long double finished(const kl_divergence *f, long double sum)
{
    return f->finish == KL_LOG ? f->factor * logl(sum) : f->factor * (1 - sum) / (f->number * f->rest);
}

/* Values within the limits, doubts outside of them, and nothing beside the rows. */
static void check_dense(const kl_kernels *k, problem *p, int stream)
{
    static uint8_t listed[MOST_PAIRS];
    const int64_t line = KL_LINE_BYTES / (p->single ? 4 : 8), stride = stream ? (p->m + line) / line * line : p->m + 3;
    const double error = ERROR(p->single);
    kl_stats stats = {0};
    const size_t size = (size_t)((p->n - 1) * stride + p->m) * (p->single ? 4 : 8);
    p->a.out = place(memory[18], size, stream ? AT_START : AT_END);
    p->a.out_stride = stride, p->a.stream = stream;
    for (int64_t t = 0; t < (p->n - 1) * stride + p->m; t++)
        if (p->single) ((float *)p->a.out)[t] = -77;
        else ((double *)p->a.out)[t] = -77;
    k->dense[p->single][KL_OVERLAP](&p->a, &stats);
    for (int64_t t = 0; t < p->n * p->m; t++) listed[t] = 0;
    int inside = p->a.n_doubts <= p->n * p->m, doubts = 1, values = 1, between = 1;
    for (int64_t t = 0; t < p->a.n_doubts && inside; t++) {
        const int64_t i = p->a.doubts[t] >> 16, j = p->a.doubts[t] & 0xffff;
        inside &= i < p->n && j < p->m && !listed[i * p->m + j]++;
    }
    CHECK(inside && stats.isa_ran == k->bit, "%s: doubts beyond %ld x %ld", k->name, (long)p->n, (long)p->m);
    for (int64_t i = 0; i < p->n && inside; i++) {
        for (int64_t j = p->m; j < stride && i < p->n - 1; j++)
            between &= get(p->a.out, i * stride + j, p->single) == -77;
        for (int64_t j = 0; j < p->m; j++) {
            const long double sum = p->sums[i * p->m + j], room = error * sum;
            if (sum > p->a.least + room && sum < p->a.most - room) doubts &= !listed[i * p->m + j];
            if (sum < p->a.least - room || sum > p->a.most + room) doubts &= listed[i * p->m + j];
            if (listed[i * p->m + j]) continue;
            const double got = get(p->a.out, i * stride + j, p->single);
            const long double value = finished(p->f, sum), step = finished(p->f, sum * (1 + error)) - value;
            values &= fabsl(got - value) <= fabsl(step) + error * fabsl(value);
        }
    }
    CHECK(doubts, "%s: doubts, single %d, s %g, %ld bins", k->name, p->single, p->f->number, (long)p->K);
    CHECK(values, "%s: values, single %d, s %g, %ld bins", k->name, p->single, p->f->number, (long)p->K);
    CHECK(between, "%s: wrote between the rows", k->name);
}

/* What is listed has the value within its bound; what is not is above the threshold. */
static void check_screen(const kl_kernels *k, problem *p, double *threshold)
{
    static uint8_t listed[MOST_PAIRS];
    const double product = p->f->number * p->f->rest;
    kl_stats stats = {0};
    for (int64_t t = 0; t < p->n * p->m; t++) listed[t] = 0;
    for (int64_t i = 0; i < p->n; i++)
        threshold[i] = (double)((1 - p->sums[i * p->m + (int64_t)(random_bits() % (uint64_t)p->m)]) / product);
    p->a.threshold = threshold;
    k->screen[0][KL_OVERLAP](&p->a, &stats);
    int bounds = 1, hits = 1;
    for (int64_t t = 0; t < p->a.n_doubts; t++) {
        const int64_t i = p->a.doubts[t] >> 16, j = p->a.doubts[t] & 0xffff;
        if (i >= p->n || j >= p->m) continue;
        listed[i * p->m + j]++;
        const long double exact = (1 - p->sums[i * p->m + j]) / product;
        bounds &= fabsl(((double *)p->a.hit_value)[t] - exact) <= ((double *)p->a.hit_bound)[t];
    }
    for (int64_t t = 0; t < p->n * p->m; t++) {
        const long double exact = (1 - p->sums[t]) / product, bound = 2 * ERROR(0) * (fabsl(exact) + 1 / fabs(product));
        if (exact <= threshold[t / p->m]) hits &= listed[t] == 1;
        if (exact < 0) continue; /* bins that q lacks: of no account, and kept */
        if (exact > threshold[t / p->m] + 4 * bound) hits &= listed[t] == 0;
    }
    CHECK(bounds, "%s: bounds, s %g, %ld bins", k->name, p->f->number, (long)p->K);
    CHECK(hits, "%s: hits, s %g, %ld bins", k->name, p->f->number, (long)p->K);
}

static void check_rows(const kl_kernels *k, int64_t K, kl_domain domain, double s, int single, int form)
{
    static double x[MOST_ROWS * MOST_BINS];
    static long double sums[MOST_PAIRS];
    const int64_t n = form % 3 ? 3 : (single ? k->mr32 : k->mr64) + 1, m = form % 2 ? 1 : 17;
    const kl_divergence f = {.kind = KL_POWER, .finish = s > 1 && form % 2 ? KL_LINEAR : KL_LOG, .number = s,
                             .rest = 1 - s, .factor = form % 4 ? 1 : -0.3, .scale = -s * (1 - s), .by_overlap = 1};
    const kl_rows left = matrix(x, n, K, domain), right = matrix(x + n * K, m, K, domain);
    const side at = form % 2 ? AT_START : AT_END;
    kl_norm norms[MOST_ROWS];
    kl_stats stats = {0};
    int32_t zeros = 0;
    double scratch[MOST_BINS];
    fill(x, n + m, K, domain);
    make_center(k, x, n + m, K, domain, &center);
    k->scan(&left, 0, n, -1, norms, &zeros, scratch, &stats);
    k->scan(&right, 0, m, -1, norms + n, &zeros, scratch, &stats);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < m; j++)
            sums[i * m + j] = exact_sum(x + i * K, x + (n + j) * K, K, domain, s);
    const encoded a = encode(k, &f, KL_MEAN, single, &left, norms, at, memory);
    const encoded b = encode(k, &f, KL_NATURAL, single, &right, norms + n, at, memory + 5);
    problem p = {.f = &f, .n = n, .m = m, .K = K, .single = single, .sums = sums};
    p.a = (kl_product_args){
        .left = a.features, .row_offset = a.offset, .row_norm = a.norm, .row_slack = a.slack, .right = b.features,
        .col_offset = b.offset, .col_norm = b.norm, .col_slack = b.slack, .K = K, .number = f.number * f.rest,
        .relative = ERROR(single), .rows = n, .cols = m, .least = s < 1 ? 1e-6 : 1.5, .most = s < 1 ? 0.7 : 1e9,
        .finish = &f, .doubts = place(memory[10], 4 * MOST_PAIRS, at),
        .hit_value = place(memory[11], 8 * MOST_PAIRS, at), .hit_bound = place(memory[12], 8 * MOST_PAIRS, at),
    };
    check_dense(k, &p, form % 4 == 0);
    static double threshold[2 * MOST_ROWS];
    if (!single && s > 1) check_screen(k, &p, threshold);
}

/* Probabilities that float64 does not hold, and features whose products might overflow. */
static void check_lost(const kl_kernels *k)
{
    static const double rows[3][3] = {{1, 1e-307, 1}, {1, 1e-200, 1}, {1, 1, 1}};
    const kl_divergence f = {.kind = KL_POWER, .number = 3.5, .rest = -2.5, .factor = 1, .by_overlap = 1};
    const kl_rows all = matrix(rows[0], 3, 3, KL_PROBS);
    const kl_norm norms[3] = {{2, 1e-307}, {2, 1e-200}, {3, 1}};
    make_center(k, rows[2], 1, 3, KL_PROBS, &center);
    const encoded b = encode(k, &f, KL_NATURAL, 0, &all, norms, AT_END, memory);
    const double *slack = b.slack, *features = b.features;
    CHECK(slack[0] == INFINITY && slack[1] == INFINITY && slack[2] < 1e-12, "%s: slacks", k->name);
    CHECK(features[0] == 0 && features[1] == 0 && features[2] < 0, "%s: features", k->name);
}

void test_overlap(const kl_kernels *k)
{
    static const double orders[] = {0.5, 0.75, 0.999, 2, 3.5};
    if (!memory[0].begin)
        for (int i = 0; i < REGIONS; i++) memory[i] = region_new(8 * 64 * MOST_BINS);
    for (int l = 0, form = 0; l < n_lengths; l++)
        for (int s = 0; s < 5 && lengths[l] > 0; s++)
            for (int domain = KL_PROBS; domain <= KL_LOGITS; domain++)
                for (int single = 0; single < (orders[s] < 1 ? 2 : 1); single++)
                    if (domain == KL_PROBS || domain == KL_LOGITS)
                        check_rows(k, lengths[l], domain, orders[s], single, form++);
    check_lost(k);
}

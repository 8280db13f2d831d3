/* The packed products against naive loops in long double. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

double get(const void *x, int64_t i, int single)
{
    return single ? ((const float *)x)[i] : ((const double *)x)[i];
}

void set(void *x, int64_t i, int single, double value)
{
    if (single) ((float *)x)[i] = (float)value;
    else ((double *)x)[i] = value;
}

typedef struct {
    kl_product_args a;
    int64_t mr, nr, rows, cols; /* padded */
    int single;
    kl_shape shape;
} problem;

static int is_product(kl_shape shape) { return shape == KL_PRODUCT || shape == KL_PRODUCT_BENT; }

/* (1 + x number) log(1 + z) - z or its like, z = x + y; where p is empty (1 + x number = 0), 0 log 0 = 0. */
static long double mixture_term(long double ratio, long double z, long double *size)
{
    const long double first = ratio > 0 ? ratio * log1pl(z) : 0;
    *size += fabsl(first) + fabsl(z);
    return first - z;
}

long double tile_term(kl_shape shape, double x, double y, double c, double number, long double *size)
{
    const long double z = (long double)x + y, d = (long double)x - y, total = 2 * (long double)c + z;
    long double term, part = 0;
    switch (shape) {
    case KL_SUM_JS: term = c * mixture_term(1 + z, z, &part), part *= c; break;
    case KL_SUM_SKEW: term = c * mixture_term(1 + (long double)x * number, z, &part), part *= c; break;
    case KL_SUM_ABS: term = -fabsl(d) / 2, part = -term; break;
    case KL_SUM_TRIANGLE: term = d != 0 ? -d * d / total : 0, part = -term; break;
    default: term = (long double)x * y, part = fabsl(term);
    }
    *size += part;
    return term;
}

enum { UNKNOWN_ROW = 1, INFINITE_ROW = 2, NAN_ROW = 3 };

/* A feature. Of the mixtures, x + y > -1, but for bins that both rows leave empty; now and then 0. */
static double feature(kl_shape shape, int mean)
{
    const uint64_t special = random_bits() % 16;
    if (is_product(shape)) return uniform(-1, 1);
    if (shape == KL_SUM_ABS) return special ? uniform(-1, 1) : 0;
    if (shape == KL_SUM_TRIANGLE) return special ? uniform(-0.01, 0.05) : 0;
    if (shape == KL_SUM_SKEW && !mean && special < 2) return 0.0;
    return special == 0 ? -0.5 : special == 1 ? 0 : special < 8 ? uniform(-1e-6, 1e-6) : uniform(-0.49, 3);
}

/* Values of about 0.1 to 4, bounds about as large as accept * value. */
static problem make_product(const kl_kernels *k, kl_shape shape, int single, int64_t n, int64_t m, int64_t K, side s,
                            region *r, int kind, int apart)
{
    problem p = {.mr = single ? k->mr32 : k->mr64, .nr = single ? k->nr32 : k->nr64, .single = single, .shape = shape};
    const size_t size = single ? 4 : 8;
    p.rows = (n + p.mr - 1) / p.mr * p.mr, p.cols = (m + p.nr - 1) / p.nr * p.nr;
    void *left = place(r[0], (size_t)(p.rows * K) * size, s), *right = place(r[1], (size_t)(p.cols * K) * size, s);
    void *weights = place(r[12], (size_t)K * size, s), *row[4], *col[3];
    for (int i = 0; i < 4; i++) row[i] = place(r[2 + i], (size_t)p.rows * size, s);
    for (int i = 0; i < 3; i++) col[i] = place(r[6 + i], (size_t)p.cols * size, s);
    for (int64_t i = 0; i < p.rows * K; i++) set(left, i, single, feature(shape, 1));
    for (int64_t i = 0; i < p.cols * K; i++) set(right, i, single, feature(shape, 0));
    for (int64_t i = 0; i < K; i++) set(weights, i, single, uniform(0.02, 1.5));
    for (int64_t i = 0; i < p.rows; i++) {
        set(row[0], i, single, uniform(0, 2) + sqrt((double)K));
        set(row[1], i, single, uniform(0, 0.02));
        set(row[2], i, single, uniform(0, 0.02));
        set(row[3], i, single, i < n ? uniform(0.5, 1.5) * sqrt((double)K) : -INFINITY);
    }
    for (int64_t i = 0; i < p.cols; i++) {
        set(col[0], i, single, i < m ? uniform(0, 1) : INFINITY);
        set(col[1], i, single, uniform(0, 1));
        set(col[2], i, single, uniform(0, 0.01));
    }
    if (kind == UNKNOWN_ROW) set(row[2], n - 1, single, INFINITY); /* every entry is in doubt */
    if (kind == NAN_ROW) set(row[0], n - 1, single, NAN);
    if (kind == INFINITE_ROW) set(row[0], n - 1, single, INFINITY), set(row[2], n - 1, single, INFINITY);
    p.a = (kl_product_args){
        .left = left, .right = right, .row_offset = row[0], .row_norm = row[1], .row_slack = row[2],
        .threshold = row[3],
        .col_offset = col[0], .col_norm = col[1], .col_slack = col[2], .K = K, .weights = weights,
        .number = 2, .rows = n, .cols = m, .accept = 0.01, .apart = apart ? 0.008 : 0,
        .bend = shape == KL_PRODUCT_BENT ? 0.02 : 0,
        .doubts = place(r[9], (size_t)(p.rows * p.cols) * 4, s),
        .hit_value = place(r[10], (size_t)(p.rows * p.cols) * size, s),
        .hit_bound = place(r[11], (size_t)(p.rows * p.cols) * size, s),
    };
    return p;
}

/* The value, and the magnitude of what it is made of. */
static long double naive(const problem *p, int64_t i, int64_t j, long double *size)
{
    const int64_t K = p->a.K;
    long double sum = (long double)get(p->a.row_offset, i, p->single) + get(p->a.col_offset, j, p->single);
    *size = fabsl(sum);
    for (int64_t k = 0; k < K; k++)
        sum -= tile_term(p->shape, get(p->a.left, i / p->mr * p->mr * K + i % p->mr + k * p->mr, p->single),
                         get(p->a.right, j / p->nr * p->nr * K + j % p->nr + k * p->nr, p->single),
                         get(p->a.weights, k, p->single), p->a.number, size);
    return sum;
}

/* Units of rounding: a chain of additions, the chains, and what one term may be off. */
static double roundings(const problem *p)
{
    const double K = (double)p->a.K;
    return (K < 256 ? K : 256) + K / 256 + (is_product(p->shape) ? 4 : 64);
}

static long double slacks_of(const problem *p, int64_t i, int64_t j)
{
    return (long double)get(p->a.row_slack, i, p->single) + get(p->a.col_slack, j, p->single);
}

static long double bound_of(const problem *p, int64_t i, int64_t j)
{
    return (long double)get(p->a.row_norm, i, p->single) * get(p->a.col_norm, j, p->single) + slacks_of(p, i, j);
}

/* listed[i * m + j]: how often the entry is on the list; returns whether all are inside the block. */
static int mark(const problem *p, uint8_t *listed)
{
    int inside = p->a.n_doubts >= 0 && p->a.n_doubts <= p->a.rows * p->a.cols;
    memset(listed, 0, (size_t)(p->a.rows * p->a.cols));
    for (int64_t t = 0; inside && t < p->a.n_doubts; t++) {
        int64_t i = p->a.doubts[t] >> 16, j = p->a.doubts[t] & 0xffff;
        inside &= i < p->a.rows && j < p->a.cols;
        if (inside) listed[i * p->a.cols + j]++;
    }
    return inside;
}

static void check_dense(const kl_kernels *k, problem *p, side s, region output, uint8_t *listed)
{
    const int64_t n = p->a.rows, m = p->a.cols, stride = m + 3;
    const double unit = p->single ? 0x1p-24 : 0x1p-53;
    kl_stats stats = {0};
    p->a.out = place(output, (size_t)((n - 1) * stride + m) * (p->single ? 4 : 8), s);
    p->a.out_stride = stride;
    for (int64_t t = 0; t < (n - 1) * stride + m; t++) set(p->a.out, t, p->single, -77);
    k->dense[p->single][p->shape](&p->a, &stats);
    CHECK(stats.isa_ran == k->bit, "%s: dense ran %u", k->name, stats.isa_ran);
    CHECK(mark(p, listed), "%s: doubts outside of %ld x %ld", k->name, (long)n, (long)m);
    int values = 1, between = 1, doubts = 1;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = m; j < stride && i < n - 1; j++) between &= get(p->a.out, i * stride + j, p->single) == -77;
        for (int64_t j = 0; j < m; j++) {
            const double got = get(p->a.out, i * stride + j, p->single);
            long double size;
            const long double value = naive(p, i, j, &size), bound = bound_of(p, i, j);
            if (value != value) { /* always in doubt */
                values &= got != got;
                doubts &= listed[i * m + j] == 1;
                continue;
            }
            values &= isinf(value) ? got == value : fabsl(got - value) <= unit * roundings(p) * size;
            if (isinf(got) && p->a.bend > 0) continue; /* inf * (1 - inf): in doubt or not, an infinity stays */
            const long double bent = 0.01L * got * (1 - p->a.bend * got);
            const long double room = 64 * unit * (bound + 0.01L * fabs(got) * (1 + p->a.bend * fabs(got)));
            const long double far = p->a.apart * got - slacks_of(p, i, j);
            if (bent > bound + room || far > room) doubts &= listed[i * m + j] == 0;
            if (bent < bound - room && far < -room) doubts &= listed[i * m + j] == 1;
        }
    }
    CHECK(values, "%s: dense values, shape %d, single %d, %ld x %ld x %ld", k->name, p->shape, p->single, (long)n,
          (long)m, (long)p->a.K);
    CHECK(between, "%s: dense wrote between the rows, %ld x %ld", k->name, (long)n, (long)m);
    CHECK(doubts, "%s: dense doubts, shape %d, single %d, %ld x %ld x %ld", k->name, p->shape, p->single, (long)n,
          (long)m, (long)p->a.K);
}

static void check_screen(const kl_kernels *k, problem *p, uint8_t *listed)
{
    const int64_t n = p->a.rows, m = p->a.cols, stride = m + 3;
    const double unit = p->single ? 0x1p-24 : 0x1p-53;
    kl_stats stats = {0};
    k->screen[p->single][p->shape](&p->a, &stats);
    CHECK(stats.isa_ran == k->bit, "%s: screen ran %u", k->name, stats.isa_ran);
    CHECK(mark(p, listed), "%s: hits outside of %ld x %ld", k->name, (long)n, (long)m);
    int hits = 1, numbers = 1;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < m; j++) {
            const double value = get(p->a.out, i * stride + j, p->single);
            const double threshold = get(p->a.threshold, i, p->single);
            const long double low = value - bound_of(p, i, j);
            if (low <= threshold - 16 * unit * fabs(value)) hits &= listed[i * m + j] == 1;
            if (low > threshold + 16 * unit * fabs(value)) hits &= listed[i * m + j] == 0;
        }
    for (int64_t t = 0; t < p->a.n_doubts; t++) {
        const int64_t i = p->a.doubts[t] >> 16, j = p->a.doubts[t] & 0xffff;
        numbers &= get(p->a.hit_value, t, p->single) == get(p->a.out, i * stride + j, p->single);
        numbers &= close_to(get(p->a.hit_bound, t, p->single), bound_of(p, i, j), 4 * unit);
    }
    CHECK(hits, "%s: screen hits, single %d, %ld x %ld x %ld", k->name, p->single, (long)n, (long)m, (long)p->a.K);
    CHECK(numbers, "%s: screen values and bounds, single %d", k->name, p->single);
}

/* Written past the caches: the same bits, and nothing beside them. */
static void check_stream(const kl_kernels *k, problem *p, int64_t n_doubts, region output)
{
    static double plain[64 * 128];
    const int64_t n = p->a.rows, m = p->a.cols, element = p->single ? 4 : 8, line = KL_LINE_BYTES / element;
    const int64_t from = p->a.out_stride, stride = (m + line) / line * line, size = (n - 1) * stride + m;
    kl_stats stats = {0};
    memcpy(plain, p->a.out, (size_t)(((n - 1) * from + m) * element));
    p->a.out = place(output, (size_t)(size * element), AT_START);
    p->a.out_stride = stride;
    p->a.stream = 1;
    for (int64_t t = 0; t < size; t++) set(p->a.out, t, p->single, -77);
    k->dense[p->single][p->shape](&p->a, &stats);
    int same = p->a.n_doubts == n_doubts, between = 1;
    for (int64_t i = 0; i < n; i++) {
        const char *streamed = (char *)p->a.out + i * stride * element, *before = (char *)plain + i * from * element;
        same &= !memcmp(streamed, before, (size_t)(m * element));
        for (int64_t j = m; j < stride && i < n - 1; j++) between &= get(p->a.out, i * stride + j, p->single) == -77;
    }
    CHECK(same && between, "%s: streamed values, shape %d, single %d, %ld x %ld x %ld", k->name, p->shape, p->single,
          (long)n, (long)m, (long)p->a.K);
}

/* The screen of values that the pass for the ends kept, in the place of the list: the hits of the screen itself. */
static void check_kept(const kl_kernels *k, problem *p, uint8_t *listed)
{
    static double ends[64 * 32], kept[64 * 128];
    static uint8_t again[64 * 128];
    const int64_t n = p->a.rows, m = p->a.cols, stride = m + 3, hits = p->a.n_doubts;
    problem q = *p;
    kl_stats stats = {0};
    int least = 1;
    q.a.hit_value = q.a.kept = kept, q.a.kept_stride = p->cols;
    q.a.out = ends, q.a.out_stride = p->nr;
    for (q.a.one = 0; q.a.one < 2; q.a.one++) {
        k->ends[p->single][p->shape](&q.a, &stats);
        for (int64_t i = 0; i < n; i++) {
            double end = INFINITY, expected = INFINITY, size = 0;
            for (int64_t t = 0; t < (q.a.one ? 1 : p->nr); t++) end = fmin(end, get(ends, i * p->nr + t, p->single));
            for (int64_t j = 0; j < m; j++) {
                const double value = get(p->a.out, i * stride + j, p->single);
                const double bound = (double)bound_of(p, i, j);
                if (isinf(value + bound) || value != value) continue;
                expected = fmin(expected, value + bound);
                size = fmax(size, fabs(value) + bound);
            }
            least &= end == expected || fabs(end - expected) <= (p->single ? 0x1p-22 : 0x1p-51) * size;
        }
    }
    k->hits[p->single](&q.a, &stats);
    mark(p, listed);
    int same = mark(&q, again) && q.a.n_doubts == hits && memcmp(listed, again, (size_t)(n * m)) == 0;
    for (int64_t t = 0; t < q.a.n_doubts; t++) {
        const int64_t i = q.a.doubts[t] >> 16, j = q.a.doubts[t] & 0xffff;
        same &= get(kept, t, p->single) == get(p->a.out, i * stride + j, p->single);
    }
    CHECK(least, "%s: least upper ends, shape %d, single %d", k->name, p->shape, p->single);
    CHECK(same, "%s: hits among kept values, shape %d, single %d", k->name, p->shape, p->single);
}

static void test_shape(const kl_kernels *k, kl_shape shape, int single, region *r, region output)
{
    static uint8_t listed[64 * 128];
    const int64_t bins[] = {1, 2, 7, 64, 255, 256, 257, 600};
    const int64_t mr = single ? k->mr32 : k->mr64, nr = single ? k->nr32 : k->nr64;
    const int64_t rows[] = {1, mr - 1, mr, mr + 1, 2 * mr + 3}, cols[] = {1, nr - 1, nr, nr + 1, 2 * nr + 5};
    for (int form = 0; form < 5 * 5 * 8 * 2; form++) {
        const int64_t n = rows[form % 5], m = cols[form / 5 % 5], K = bins[form / 25 % 8];
        /* The logarithms of the sums, in long double, take their time: fewer of the largest. */
        if (n < 1 || m < 1 || (shape > KL_PRODUCT && K > 7 && form % 25 % 6)) continue;
        side s = form / 200 ? AT_START : AT_END;
        for (int kind = 0; kind < (K < 60 ? (shape == KL_PRODUCT ? 4 : 2) : 1); kind++) {
            problem p = make_product(k, shape, single, n, m, K, s, r, kind, shape == KL_PRODUCT && form % 2);
            check_dense(k, &p, s, output, listed);
            const int64_t n_doubts = p.a.n_doubts;
            check_screen(k, &p, listed);
            check_kept(k, &p, listed);
            check_stream(k, &p, n_doubts, output);
        }
    }
}

void test_products(const kl_kernels *k)
{
    region r[13], output = region_new(8 * 64 * 128);
    for (int i = 0; i < 13; i++)
        r[i] = region_new(i < 2 ? 8 * 128 * 600 : i < 9 ? 8 * 128 : i < 12 ? 8 * 64 * 128 : 8 * 600);
    for (int single = 0; single < 2; single++)
        for (kl_shape shape = KL_PRODUCT; shape < KL_SUM_FAMILY; shape++) test_shape(k, shape, single, r, output);
}

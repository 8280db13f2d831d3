/* Tiles of families without a product form, and lines of coordinates of any that has a term, against their direct form,
 * in every role, between guard pages. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 64, MOST_COORDINATES = 300 };

static const char *const names[] = {"laplace", "gumbel", "weibull", "pareto", "cauchy", "uniform"};

/* Rows of one member moved by up to `spread`; the last row is out of reach of the terms. Uniform and Pareto: the right
 * rows reach further, but for every fifth. */
static void draw(const kl_family *family, double *x, int64_t n, int64_t d, double spread, int right)
{
    const int is_uniform = family->term == KL_TERM_UNIFORM, is_pareto = family->term == KL_TERM_PARETO;
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < d; k++) {
            double *a = x + i * 2 * d + k, *b = a + d, out = right && i % 5 ? 2.5 * spread : 0;
            *a = 1.5 + spread * uniform(-0.5, 0.5);
            *b = exp(spread * uniform(-1, 1));
            if (is_pareto) *a -= fmin(out, 0.4);
            if (is_uniform) *a -= out, *b += 2 + out;
        }
    x[2 * d * n - 1] = is_uniform ? 0x1p210 : 0x1p-210;
}

typedef struct { double *features, *offset, *norm, *slack; } packed;

static packed encode(const kl_kernels *k, const kl_divergence *f, const kl_rows *rows, int64_t padded, int width,
                     side s, region *r)
{
    const size_t size = (size_t)padded * sizeof(double);
    packed out = {place(r[0], size * (size_t)kl_width_of(f, rows), s), place(r[1], size, s), place(r[2], size, s),
                  place(r[3], size, s)};
    double *scratch = calloc((size_t)kl_scratch_of(f, rows), sizeof *scratch);
    kl_stats stats = {0};
    kl_encode_args args = {.divergence = f, .rows = rows, .end = rows->n_rows, .width = width, .slack_factor = 1e-13,
                           .slack_floor = 1e-300, .norm_factor = 1, .scratch = scratch, .features = out.features,
                           .offset = out.offset, .norm = out.norm, .slack = out.slack};
    k->encode(&args, &stats);
    free(scratch);
    return out;
}

static double expected(const kl_family *family, const double *p, const double *q, int64_t K, int turned, int both)
{
    const double value = family->direct(turned ? q : p, turned ? p : q, K, (kl_work){0});
    return both ? value + family->direct(turned ? p : q, turned ? q : p, K, (kl_work){0}) : value;
}

/* Values, what is left to the direct form, and the hits of a screen. */
static void check_tile(const kl_kernels *k, const kl_family *family, int64_t n, int64_t m, int64_t d, double spread,
                       int turned, int both, side s, region *r)
{
    static double p[MOST * 2 * MOST_COORDINATES], q[MOST * 2 * MOST_COORDINATES], out[MOST * MOST], threshold[MOST * 2];
    static double value[MOST * MOST * 4], bound[MOST * MOST * 4];
    static uint32_t listed[MOST * MOST * 4];
    static uint8_t seen[MOST * MOST];
    const int64_t K = 2 * d, rows = (n + k->mr64 - 1) / k->mr64 * k->mr64, cols = (m + k->nr64 - 1) / k->nr64 * k->nr64;
    const kl_divergence f = {.kind = both ? KL_JEFFREYS : KL_KL, .factor = 1, .by_terms = 1};
    const double tolerance = family->term == KL_TERM_GUMBEL || family->term == KL_TERM_WEIBULL ? 4e-14 : 5e-15;
    kl_stats stats = {0};
    draw(family, p, n, d, spread, 0);
    draw(family, q, m, d, spread, 1);
    kl_rows left = matrix(p, n, K, KL_FAMILY), right = matrix(q, m, K, KL_FAMILY);
    left.family = right.family = family;
    CHECK(kl_by_terms(&f, &right) == 1, "%s", family->name);
    const packed x = encode(k, &f, &left, rows, k->mr64, s, r), y = encode(k, &f, &right, cols, k->nr64, s, r + 4);
    kl_product_args a = {.left = x.features, .right = y.features, .row_offset = x.offset, .row_norm = x.norm,
        .row_slack = x.slack, .col_offset = y.offset, .col_norm = y.norm, .col_slack = y.slack, .K = 3 * d, .rows = n,
        .cols = m, .relative = 1e-13, .accept = 1e-12 - 1e-13, .term = family->term, .turned = turned, .both = both,
        .threshold = threshold, .doubts = listed, .hit_value = value, .hit_bound = bound, .out = out, .out_stride = m};
    k->dense[0][KL_SUM_FAMILY](&a, &stats);
    memset(seen, 0, sizeof seen);
    for (int64_t t = 0; t < a.n_doubts; t++) seen[(listed[t] >> 16) * m + (listed[t] & 0xffff)]++;
    int64_t wrong = 0, lost = 0, missed = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < m; j++) {
            const double exact = expected(family, p + i * K, q + j * K, K, turned, both);
            const int beyond = i == n - 1 || j == m - 1;
            if (beyond) lost += seen[i * m + j] != 1;
            else wrong += seen[i * m + j] || !close_to(out[i * m + j], exact, tolerance);
        }
    for (int64_t i = 0; i < rows; i++)
        threshold[i] = i < n ? fmin(expected(family, p + i * K, q, K, turned, both), 1e300) : -INFINITY;
    k->screen[0][KL_SUM_FAMILY](&a, &stats);
    memset(seen, 0, sizeof seen);
    for (int64_t t = 0; t < a.n_doubts; t++) {
        const int64_t i = listed[t] >> 16, j = listed[t] & 0xffff;
        const double exact = expected(family, p + i * K, q + j * K, K, turned, both);
        seen[i * m + j] = 1;
        wrong += !(value[t] - bound[t] <= exact && (exact <= value[t] + bound[t]));
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < m; j++)
            missed += !seen[i * m + j] && expected(family, p + i * K, q + j * K, K, turned, both) <= threshold[i];
    CHECK(wrong == 0 && lost == 0 && missed == 0 && stats.isa_ran == k->bit,
          "%s: %s, %ld x %ld, d = %ld, spread %g, turned %d, both %d: %ld wrong, %ld not left, %ld missed", k->name,
          family->name, (long)n, (long)m, (long)d, spread, turned, both, (long)wrong, (long)lost, (long)missed);
}

/* Parameters of a coordinate near those that `size` and the family fix. */
static void draw_coordinate(const kl_family *family, double size, double spread, int right, double *t)
{
    draw(family, t, 1, 1, spread, right);
    t[1] = exp(spread * uniform(-1, 1));
    switch (family->term) {
    case KL_TERM_UNIFORM: t[0] -= 3 * spread * right, t[1] += 3 + 3 * spread * right; break;
    case KL_TERM_BERNOULLI: case KL_TERM_GEOMETRIC: t[0] = 0.5 + 0.4 * spread * uniform(-1, 1); break;
    case KL_TERM_BINOMIAL: case KL_TERM_NEGATIVE_BINOMIAL: t[0] = 7, t[1] = 0.5 + 0.4 * spread * uniform(-1, 1); break;
    case KL_TERM_LOGIT: t[0] = 2 * log(size) + 20 * spread * uniform(-1, 1); break;
    case KL_TERM_CHI2: case KL_TERM_GAMMA: case KL_TERM_BETA: case KL_TERM_INVERSE_GAUSSIAN: t[0] *= size; break;
    default: break;
    }
}

static double line_tolerance(int term)
{
    switch (term) {
    case KL_TERM_GUMBEL: case KL_TERM_WEIBULL: return 4e-14;
    case KL_TERM_CHI2: case KL_TERM_GAMMA: case KL_TERM_BETA: return 1e-14;
    default: return 5e-15;
    }
}

/* A line of coordinates, one of them out of reach, between guard pages. */
static void check_line(const kl_kernels *k, const kl_family *family, int64_t n, double spread, int both, side s, region *r)
{
    const int one = family->term < KL_TERM_NORMAL;
    const size_t size = (size_t)n * sizeof(double);
    double *p[2], *q[2], *out = place(r[4], size, s);
    int64_t wrong = 0;
    for (int j = 0; j < 2; j++) p[j] = place(r[j], size, s), q[j] = place(r[2 + j], size, s);
    for (int64_t i = 0; i < n; i++) {
        double x[2], y[2];
        const double about = exp(uniform(-7, 7));
        draw_coordinate(family, about, spread, 0, x);
        draw_coordinate(family, about, spread, 1, y);
        for (int j = 0; j < 2; j++) p[j][i] = x[j], q[j][i] = y[j];
    }
    p[!one][n / 2] = 0x1p210;
    k->family_line(family->term, both, (const double *const *)p, (const double *const *)q, n, out);
    for (int64_t i = 0; i < n; i++) {
        const double x[2] = {p[0][i], p[1][i]}, y[2] = {q[0][i], q[1][i]};
        const double exact = expected(family, x, y, one ? 1 : 2, 0, both);
        wrong += i == n / 2 ? out[i] == out[i] : !close_to(out[i], exact, line_tolerance(family->term));
    }
    CHECK(wrong == 0, "%s: a line of %ld of %s, spread %g, both %d: %ld wrong", k->name, (long)n, family->name, spread, both,
          (long)wrong);
}

/* Pairs of Dirichlet rows side by side, one of them out of reach, the ends of the rows at or behind guard pages. */
static void check_dirichlet(const kl_kernels *k, int64_t K, double spread, side s, region *r)
{
    const kl_family *family = kl_family_named("dirichlet");
    double *p = place(r[0], (size_t)K * sizeof *p, s), *q = place(r[1], (size_t)K * sizeof *q, s);
    double exact[KL_LINE_STEP], out[KL_LINE_STEP];
    kl_dirichlet_rows rows;
    int64_t wrong = 0;
    for (int lane = 0; lane < KL_LINE_STEP; lane++) {
        const double size = exp(uniform(-7, 7)), scale = spread < 1 ? 1 : exp(uniform(-2, 2));
        for (int64_t i = 0; i < K; i++) {
            p[i] = size * exp(2 * uniform(-1, 1));
            q[i] = p[i] * scale * (1 + 0.9 * spread * uniform(-1, 1));
        }
        if (lane == 5) q[K - 1] = 0x1p-210;
        exact[lane] = expected(family, p, q, K, 0, 0);
        k->dirichlet_rest(p, q, K, lane, &rows);
    }
    rows.x[5] = rows.y[5] = rows.s[5] = rows.t[5] = 1, rows.e[5] = rows.det[5] = 0;
    k->dirichlet_gap(&rows, out);
    for (int lane = 0; lane < KL_LINE_STEP; lane++)
        wrong += lane == 5 ? out[lane] == out[lane] : !close_to(out[lane], exact[lane], 1e-14);
    CHECK(wrong == 0, "%s: Dirichlet rows of %ld, spread %g: %ld wrong", k->name, (long)K, spread, (long)wrong);
}

static void test_dirichlet(const kl_kernels *k)
{
    const int64_t sizes[] = {2, 3, 7, 8, 9, 17, 64, 300};
    const double spreads[] = {1, 1e-2, 1e-6, 1e-12};
    region r[2] = {region_new(300 * sizeof(double)), region_new(300 * sizeof(double))};
    for (int form = 0; form < 8 * 4 * 2 * 4; form++)
        check_dirichlet(k, sizes[form % 8], spreads[form / 8 % 4], form / 32 % 2 ? AT_END : AT_START, r);
}

static void test_lines(const kl_kernels *k)
{
    const int64_t sizes[] = {8, 16, 24, 256};
    const double spreads[] = {1, 1e-2, 1e-6, 1e-12};
    region r[5];
    int lines = 0;
    for (int i = 0; i < 5; i++) r[i] = region_new(256 * sizeof(double));
    for (int t = 0; t < kl_family_count(); t++) {
        const kl_family *family = kl_family_at(t);
        if (family->term == KL_TERM_NONE || family->term == KL_TERM_DIRICHLET) continue;
        for (int form = 0; form < 4 * 4 * 2 * 2; form++, lines++)
            check_line(k, family, sizes[form % 4], spreads[form / 4 % 4], form / 16 % 2, form / 32 ? AT_END : AT_START, r);
    }
    CHECK(lines == 22 * 64, "%d lines", lines);
}

void test_family_terms(const kl_kernels *k)
{
    const int64_t mr = k->mr64, nr = k->nr64, sizes[][2] = {{2, 2}, {mr + 1, nr + 1}, {2 * mr + 3, 2 * nr + 5}};
    const int64_t coordinates[] = {1, 7, 8, 9, 256, 257};
    const double spreads[] = {1, 1e-2, 1e-6};
    region r[8];
    for (int i = 0; i < 8; i++) r[i] = region_new(i % 4 ? MOST * 8 : (size_t)MOST * 3 * MOST_COORDINATES * 8);
    for (int t = 0; t < 6; t++)
        for (int form = 0; form < 3 * 6 * 3; form++)
            check_tile(k, kl_family_named(names[t]), sizes[form % 3][0], sizes[form % 3][1], coordinates[form / 3 % 6],
                       spreads[form / 18], form % 2, form % 5 == 0, form % 4 < 2 ? AT_END : AT_START, r);
    test_lines(k);
    test_dirichlet(k);
}

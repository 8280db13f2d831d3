/* Triangles (src_c/kernels/triangles.h) against numbers of 113 bits: sizes around every vector and block, conditions up
 * to 1e12, no byte too far; the same bits by every ISA with fused multiply-adds. */
#include "check.h"

#include <float.h>
#include <string.h>

#ifdef __x86_64__
typedef __float128 wide;
#else
typedef long double wide;
#endif
#define U 0x1p-53

enum { MOST = 41, SIDE = (MOST + 1) * 56 };
static const int64_t SIZES[] = {1, 2, 3, 6, 7, 8, 9, 15, 16, 17, 23, 30, 31, 32, 33, MOST};
#define COUNT (int64_t)(sizeof SIZES / sizeof *SIZES)
enum { FORMS = 3, CASES = 16 * FORMS * 2 * 3 };
_Static_assert(sizeof SIZES / sizeof *SIZES == 16, "CASES");

/* Every ISA gets the same numbers, and those with fused multiply-adds give the same bits: of each result a hash. */
static uint64_t state, hashes[9 * CASES];
static int64_t results;
static int hashed; /* by an ISA before */

/* (A generator of its own, that starts anew.) */
static double any(double low, double high)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return low + (high - low) * ((double)(state >> 11) * 0x1p-53);
}

static void check_bits(const kl_kernels *k, const double *x, int64_t n)
{
    uint64_t hash = 14695981039346656037u;
    if (k->bit == 1) return; /* the baseline has no fused multiply-add */
    for (int64_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, x + i, sizeof bits);
        hash = (hash ^ bits) * 1099511628211u;
    }
    CHECK(!hashed || hashes[results] == hash, "%s: other bits, result %d", k->name, (int)results);
    hashes[results++] = hash;
}

static double size_of(wide x) { return (double)(x < 0 ? -x : x); }

/* A triangle whose diagonal falls to `least`. */
static void make_triangle(double *L, int64_t d, double least)
{
    for (int64_t i = 0, k = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++, k++)
            L[k] = j < i ? any(-1, 1) / sqrt((double)d) : pow(least, any(0, 1)) * any(0.5, 1.5);
}

/* The solution, and in `growth` how much its rows magnify an error. */
static void solve(const double *L, const double *A, const double *s, const double *m, const double *n, int64_t d,
                  wide *E, double *growth)
{
    const int64_t stride = kl_stride(d);
    memset(E, 0, sizeof *E * (size_t)(d * stride));
    for (int64_t i = 0; i < d; i++) {
        const double *l = L + i * (i + 1) / 2, *a = A + i * (i + 1) / 2;
        wide *e = E + i * stride;
        e[0] = m ? (wide)m[i] - n[i] : 0;
        double size = size_of(e[0]);
        for (int64_t j = 0; j <= i; j++) {
            e[1 + j] = (wide)a[j] - (wide)(s ? s[j] : 1) * l[j];
            size += fabs(a[j]) + fabs(l[j]);
        }
        for (int64_t k = 0; k < i; k++) {
            for (int64_t j = 0; j <= k + 1; j++) e[j] -= l[k] * E[k * stride + j];
            size += fabs(l[k]) * growth[k];
        }
        for (int64_t j = 0; j <= i + 1; j++) e[j] /= l[i];
        growth[i] = size / l[i];
    }
}

static void check_ratio(const kl_kernels *k, int64_t d, double least, int form, side at, region *r)
{
    static wide exact[SIDE];
    double growth[MOST], m[MOST], n[MOST], s[MOST];
    const int64_t stride = kl_stride(d), size = d * (d + 1) / 2, all = d * stride;
    double *L = place(r[0], (size_t)size * 8, at), *A = place(r[1], (size_t)size * 8, at);
    double *E = place(r[2], (size_t)all * 8, at), *low = place(r[3], (size_t)all * 8, at);
    make_triangle(L, d, least);
    make_triangle(A, d, least);
    for (int64_t i = 0; i < d; i++) m[i] = any(-3, 3), n[i] = any(-3, 3);
    for (int64_t i = 0; i < d; i++) s[i] = A[i * (i + 3) / 2] / L[i * (i + 3) / 2];
    const double *scale = form == 1 ? s : NULL, *first = form == 2 ? NULL : m;
    for (int64_t i = 0; i < all; i++) E[i] = low[i] = NAN;
    k->triangles->ratio(L, A, scale, first, n, d, E, low);
    solve(L, A, scale, first, n, d, exact, growth);
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < stride; j++) {
            const int64_t at_ij = i * stride + j;
            const double rest = size_of(exact[at_ij] - E[at_ij] - low[at_ij]), lost = 64 * U * U * growth[i];
            CHECK(rest <= lost, "%s: d = %d, (%d, %d): off by %g, %g allowed", k->name, (int)d, (int)i, (int)j, rest, lost);
            CHECK(fabs(low[at_ij]) <= U * fabs(E[at_ij]) + lost, "%s: d = %d, (%d, %d): %g + %g", k->name, (int)d, (int)i,
                  (int)j, E[at_ij], low[at_ij]);
            if (j > i + 1) CHECK(E[at_ij] == 0 && low[at_ij] == 0, "%s: not 0", k->name);
        }
    check_bits(k, E, all);
    check_bits(k, low, all);
    k->triangles->ratio(L, A, scale, first, n, d, low, NULL);
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < stride; j++) {
            const double rest = size_of(exact[i * stride + j] - low[i * stride + j]);
            CHECK(rest <= (double)(i * i / 2 + 8) * U * growth[i] && (j <= i + 1 || low[i * stride + j] == 0),
                  "%s: d = %d, (%d, %d) in double: off by %g", k->name, (int)d, (int)i, (int)j, rest);
        }
    check_bits(k, low, all);
    for (int diagonal = 0; diagonal < 2; diagonal++) {
        long double sum = 0;
        for (int64_t i = 0; i < d; i++)
            for (int64_t j = 0; j <= i + 1; j++)
                if (diagonal || j < i + 1) sum += (long double)E[i * stride + j] * E[i * stride + j];
        const double found = k->triangles->norm2(E, d, diagonal);
        CHECK(sum > DBL_MAX ? !(found <= DBL_MAX) : close_to(found, sum, 8 * U), "%s: d = %d, squares %.17g, not %.17Lg", k->name, (int)d, found, sum);
        check_bits(k, &found, 1);
    }
}

/* Rows [begin, end) of X, of which those are 0 that `upper` lets out. */
static void check_products(const kl_kernels *k, int64_t d, int upper, side at, region *r)
{
    const int64_t stride = kl_stride(d), rows = d + upper;
    double *X = place(r[0], (size_t)(rows * stride) * 8, at), *low = place(r[1], (size_t)(rows * stride) * 8, at);
    double *out = place(r[2], (size_t)stride * 8, at), *out_low = place(r[3], (size_t)stride * 8, at), own[64];
    for (int64_t i = 0; i < rows * stride; i++) {
        const int empty = upper && i / stride > i % stride + 1;
        X[i] = empty ? 0 : exp(any(-6, 6)) * (any(-1, 1) < 0 ? -1 : 1);
        low[i] = X[i] * any(-U, U);
    }
    for (int64_t row = 0; row < d; row++) {
        const int64_t columns = upper ? row + 1 : row + 2, column = upper ? row : row + 1;
        const int64_t begin = upper ? 0 : row, end = upper ? row + 2 : d;
        for (int64_t j = 0; j < stride; j++) out[j] = own[j] = any(-1, 1), out_low[j] = out[j] * any(-U, U);
        k->triangles->add_products(X, low, stride, column, begin, end, upper, columns, out, out_low);
        for (int64_t j = 0; j < columns; j++) {
            wide sum = (wide)own[j] + out_low[j];
            double size = fabs(own[j]);
            for (int64_t t = begin; t < end; t++) {
                const double *x = X + t * stride, *y = low + t * stride;
                const wide product = ((wide)x[column] + y[column]) * ((wide)x[j] + y[j]);
                sum += product;
                size += size_of(product);
            }
            CHECK(size_of(sum - out[j]) <= U * size_of(sum) * (1 + 0x1p-20) + 256 * U * U * size,
                  "%s: d = %d, row %d, column %d: %.17g, not %.17g", k->name, (int)d, (int)row, (int)j, out[j], (double)sum);
        }
        if (row == d - 1) check_bits(k, out, columns);
    }
}

void test_triangles(const kl_kernels *k)
{
    region r[4];
    for (int i = 0; i < 4; i++) r[i] = region_new(sizeof(double) * SIDE);
    state = 1951;
    results = 0;
    for (int64_t t = 0; t < COUNT; t++)
        for (int form = 0; form < FORMS; form++)
            for (int at = AT_END; at <= AT_START; at++)
                for (int ill = 0; ill < 3; ill++) {
                    check_ratio(k, SIZES[t], ill == 0 ? 0.5 : ill == 1 ? 1e-4 : 1e-12, form, (side)at, r);
                    check_products(k, SIZES[t], form & 1, (side)at, r);
                }
    hashed |= k->bit != 1;
}

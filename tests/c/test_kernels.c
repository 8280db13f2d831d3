/* Runs every C test under every ISA that this machine supports. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

long passed, failed;
const int64_t lengths[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 63, 64, 65, 66, 71, 72, 127,
                           128, 129, 300};
const int n_lengths = sizeof lengths / sizeof *lengths;

region region_new(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (bytes + page - 1) / page * page;
    char *m = mmap(NULL, size + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED || mprotect(m, page, PROT_NONE) || mprotect(m + page + size, page, PROT_NONE)) abort();
    return (region){m + page, m + page + size};
}

void *place(region r, size_t bytes, side s)
{
    if ((size_t)(r.end - r.begin) < bytes) abort();
    return s == AT_END ? r.end - bytes : r.begin;
}

uint64_t random_bits(void) /* splitmix64 */
{
    static uint64_t state = 1951;
    uint64_t x = state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

double uniform(double low, double high) { return low + (high - low) * ((double)(random_bits() >> 11) * 0x1p-53); }

int close_to(double a, long double b, double tolerance)
{
    if (isinf(b) || b == 0) return (long double)a == b;
    return fabsl(a - b) <= tolerance * fabsl(b);
}

kl_rows matrix(const double *data, int64_t n, int64_t K, kl_domain domain)
{
    return (kl_rows){.data = (const char *)data, .row_stride = 8 * K, .col_stride = 8, .n_rows = n, .n_cols = K,
                     .prior_weight = 1, .storage = KL_FLOAT64, .domain = domain};
}

/* The checks themselves can fail. */
static void test_checks(void)
{
    CHECK(close_to(1 + 0x1p-52, 1, 1e-15) && !close_to(1 + 0x1p-45, 1, 1e-15) && !close_to(NAN, 1, 1e9), "close_to");
    CHECK(!close_to(1e-300, 0, 1) && !close_to(1e308, INFINITY, 1) && !close_to(NAN, INFINITY, 1), "close_to");
    region r = region_new(100);
    CHECK((char *)place(r, 24, AT_END) + 24 == r.end && (char *)place(r, 24, AT_START) == r.begin, "place");
}

int main(void)
{
    int ran = 0;
    test_checks();
    test_team();
    for (int i = 0; i < kl_isa_count(); i++) {
        const kl_kernels *k = kl_isa_at(i);
        if (!kl_isa_supported(i)) {
            printf("%s: not supported here\n", k->name);
            continue;
        }
        long before = passed + failed;
        test_reading(k);
        test_scanning(k);
        test_direct(k);
        test_rows(k);
        test_logits(k);
        test_brief_logits(k);
        test_brief_near(k);
        test_brief_halves(k);
        test_encoding(k);
        test_products(k);
        test_terms(k);
        test_values(k);
        test_features(k);
        test_finish(k);
        test_family_terms(k);
        test_triangles(k);
        test_coarse(k);
        test_few(k);
        test_overlap(k);
        printf("%s: %ld checks\n", k->name, passed + failed - before);
        ran++;
    }
    for (int i = 0; i < kl_isa_count(); i++)
        if (kl_isa_supported(i)) {
            test_offsets(kl_isa_at(i));
            test_float32_rows(kl_isa_at(i));
        }
    CHECK(ran > 0, "no ISA ran");
    printf("%ld passed, %ld failed\n", passed, failed);
    return failed != 0;
}

/* Selection and order within a list of candidates (candidates.h). */
#include "candidates.h"

static inline float number_of(int32_t key)
{
    const int32_t bits = key ^ ((key >> 31) & INT32_MAX);
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Halves the range of the answer: some twenty counts without a branch take a tenth of the time of Hoare's selection,
 * whose branches nothing predicts. */
float kl_kth_smallest(const int32_t *x, int64_t n, int64_t k)
{
    int32_t least = x[0], most = x[0];
    for (int64_t t = 1; t < n; t++) {
        least = x[t] < least ? x[t] : least;
        most = x[t] > most ? x[t] : most;
    }
    int64_t low = least, high = k == 1 ? least : most;
    while (low < high) {
        const int32_t middle = (int32_t)((low + high) >> 1);
        int32_t count = 0;
        for (int64_t t = 0; t < n; t++) count += x[t] <= middle;
        if (count >= k) high = middle;
        else low = (int64_t)middle + 1;
    }
    return number_of((int32_t)low);
}

float kl_thin(candidates *c, int64_t k, int32_t *keys)
{
    for (int64_t t = 0; t < c->count; t++) keys[t] = key_of(c->list[t].high);
    const float threshold = kl_kth_smallest(keys, c->count, k);
    int64_t kept = 0;
    for (int64_t t = 0; t < c->count; t++) {
        const candidate x = c->list[t];
        c->list[kept] = x;
        kept += x.low <= threshold;
    }
    c->count = kept;
    return threshold;
}

/* The order of the answer. By keys, which integers are compared as in half the time. */
static inline int comes_first(const candidate *a, const candidate *b)
{
    return (a->key < b->key) | ((a->key == b->key) & (a->column < b->column));
}

/* Values to integers in their order, and back. */
static void exchange_keys(candidate *list, int64_t n)
{
    for (int64_t t = 0; t < n; t++) list[t].key ^= (list[t].key >> 63) & INT64_MAX;
}

/* Runs of this length are sorted by insertion. */
#define RUN 8

void kl_sort_candidates(candidate *list, int64_t n, candidate *space)
{
    exchange_keys(list, n);
    for (int64_t begin = 0; begin < n; begin += RUN)
        for (int64_t t = begin + 1; t < n && t < begin + RUN; t++) {
            const candidate x = list[t];
            int64_t at = t;
            for (; at > begin && comes_first(&x, list + at - 1); at--) list[at] = list[at - 1];
            list[at] = x;
        }
    candidate *from = list, *to = space;
    for (int64_t run = RUN; run < n; run *= 2) {
        for (int64_t begin = 0; begin < n; begin += 2 * run) {
            const int64_t middle = begin + run < n ? begin + run : n, end = begin + 2 * run < n ? begin + 2 * run : n;
            int64_t a = begin, b = middle, at = begin;
            while (a < middle && b < end) {
                const int64_t second = comes_first(from + b, from + a); /* no branch: nothing predicts it */
                to[at++] = from[a + ((b - a) & -second)];
                a += 1 - second;
                b += second;
            }
            memcpy(to + at, from + a, (size_t)(middle - a) * sizeof *to);
            memcpy(to + at + middle - a, from + b, (size_t)(end - b) * sizeof *to);
        }
        candidate *last = from;
        from = to;
        to = last;
    }
    if (from != list) memcpy(list, from, (size_t)n * sizeof *list);
    exchange_keys(list, n);
}

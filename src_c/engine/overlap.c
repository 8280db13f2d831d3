/* POWER of rows far apart. The features give 1 - sum p^s q^t with an absolute error, which is much for the logarithm of
 * a small sum, and for a large one may be much, too: their products cancel. The sum itself is one of nonnegative terms.
 * So the pairs that the features leave in doubt are looked at again here; what stays in doubt is near 0, or infinite.
 */
#include <stddef.h>

#include "pairing.h"

int kl_has_overlap(const kl_divergence *f, int32_t domain)
{
    return f->kind == KL_POWER && (f->finish == KL_LOG || f->number > 1) && (domain == KL_PROBS || domain == KL_LOGITS);
}

/* Row i of an operand, at `place` for good, or at `mine` while another thread is about to put it there. NULL: there is
 * none. */
static const double *row_of(const kl_pairing *p, const kl_workspace *w, int32_t role, int64_t i, double *place,
                            double *mine, uint8_t *state)
{
    const int is_left = role == p->left_role;
    const kl_rows *rows = is_left ? p->left : p->right;
    uint8_t now = __atomic_load_n(state, __ATOMIC_ACQUIRE);
    if (now == KL_OVERLAP_THERE) return place;
    if (now == KL_OVERLAP_LOST) return NULL;
    const int first = now == KL_OVERLAP_UNKNOWN
        && __atomic_compare_exchange_n(state, &now, KL_OVERLAP_MADE, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    double *out = first ? place : mine;
    const kl_norm norm = (is_left ? p->left_norms : p->right_norms)[i];
    const double *row = p->kernels->read(rows, i, w->scratch);
    const int there = p->kernels->overlap_row(p->divergence, role, rows->domain, row, norm, p->center, rows->n_cols, out);
    if (first) __atomic_store_n(state, there ? KL_OVERLAP_THERE : KL_OVERLAP_LOST, __ATOMIC_RELEASE);
    return there ? out : NULL;
}

/* The value of a sum of p^s q^t and its logarithm; 0 where that is not certified. */
static int certified(const kl_pairing *p, double accept, double sum, double log_sum, double *value)
{
    const kl_divergence *f = p->divergence;
    if (!(sum > 0x1p-900 && sum < 0x1p900)) return 0;
    if (f->finish == KL_LOG) {
        *value = f->factor * log_sum;
        return accept * fabs(log_sum) >= p->overlap.error;
    }
    *value = kl_finished(f, (1 - sum) / (f->number * f->rest));
    return accept * fabs(1 - sum) >= p->overlap.error * sum;
}

/* Pairs of one left row, and which doubts they are. */
typedef struct { const double *left, *right[KL_TOGETHER]; uint32_t doubt[KL_TOGETHER]; int64_t count; } batch;

/* Values of a batch; those that are not certified go back to the list, of `kept`. */
static int64_t run(const kl_pairing *p, const kl_product_args *args, double accept, batch *b, int64_t kept)
{
    double sums[KL_TOGETHER], logs[KL_TOGETHER], value;
    p->kernels->overlaps(b->left, b->right, b->count, p->left->n_cols, sums, logs);
    for (int64_t t = 0; t < b->count; t++) {
        const uint32_t doubt = b->doubt[t];
        if (certified(p, accept, sums[t], logs[t], &value))
            kl_put(args->out, (doubt >> 16) * args->out_stride + (doubt & 0xffff), p->single, value);
        else args->doubts[kept++] = doubt;
    }
    b->count = 0;
    return kept;
}

void kl_settle_by_overlap(const kl_pairing *p, const kl_workspace *w, kl_product_args *args, double accept,
                          int64_t begin, int64_t col)
{
    const int64_t K = p->left->n_cols, n = args->n_doubts;
    const int32_t right_role = p->left_role == KL_MEAN ? KL_NATURAL : KL_MEAN;
    int64_t kept = 0, row = -1;
    batch b = {.count = 0};
    for (int64_t d = 0; d < n; d++) {
        const uint32_t doubt = args->doubts[d];
        const int64_t r = doubt >> 16, j = col + (doubt & 0xffff);
        if (p->right_support && kl_unsupported(p, w, r, j)) continue;
        if (r != row) {
            if (b.count) kept = run(p, args, accept, &b, kept);
            b.left = row_of(p, w, p->left_role, begin + r, w->overlap + r * K, NULL, w->overlap_state + r);
            row = r;
        }
        const double *right = b.left ? row_of(p, w, right_role, j, p->overlap.rows + j * K, w->overlap_mine,
                                              p->overlap.state + j) : NULL;
        if (!right) {
            args->doubts[kept++] = doubt;
            continue;
        }
        b.right[b.count] = right;
        b.doubt[b.count++] = doubt;
        if (b.count == KL_TOGETHER || right == w->overlap_mine) kept = run(p, args, accept, &b, kept);
    }
    if (b.count) kept = run(p, args, accept, &b, kept);
    args->n_doubts = kept;
}

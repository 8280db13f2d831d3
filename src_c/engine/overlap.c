/* POWER of rows far apart. The features give 1 - sum p^s q^t with an absolute error, which is much for the logarithm of a
 * small sum, and for a large one may be much, too: their products cancel. The sum itself is one of nonnegative terms. So
 * the pairs that the features leave in doubt are looked at again here; what stays in doubt is near 0, or infinite.
 */
#include <stddef.h>

#include "pairing.h"

#define LANES 8   /* partial sums of a product                 */
#define CHAIN 256 /* bins added up before the next partial sum */

/* In lanes and chains of fixed length: a shorter chain of roundings than the product's, which the bound counts on. */
double kl_dot(const double *x, const double *y, int64_t K)
{
    double total = 0;
    for (int64_t begin = 0; begin < K; begin += CHAIN) {
        const int64_t end = K - begin < CHAIN ? K : begin + CHAIN, whole = end - (end - begin) % LANES;
        double lanes[LANES] = {0};
        for (int64_t k = begin; k < whole; k += LANES)
            for (int j = 0; j < LANES; j++) lanes[j] += x[k + j] * y[k + j];
        for (int64_t k = whole; k < end; k++) lanes[k - whole] += x[k] * y[k];
        total += ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
    }
    return total;
}

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
    const int there = p->kernels->overlap_row(p->divergence, role, rows->domain,
                                              p->kernels->read(rows, i, w->scratch),
                                              (is_left ? p->left_norms : p->right_norms)[i], p->center, rows->n_cols, out);
    if (first) __atomic_store_n(state, there ? KL_OVERLAP_THERE : KL_OVERLAP_LOST, __ATOMIC_RELEASE);
    return there ? out : NULL;
}

int kl_by_overlap(const kl_pairing *p, const kl_workspace *w, int64_t begin, int64_t r, int64_t j, double accept,
                  double *value)
{
    const kl_divergence *f = p->divergence;
    const int64_t K = p->left->n_cols;
    const int32_t right_role = p->left_role == KL_MEAN ? KL_NATURAL : KL_MEAN;
    const double *x = row_of(p, w, p->left_role, begin + r, w->overlap + r * K, NULL, w->overlap_state + r);
    const double *y = row_of(p, w, right_role, j, p->overlap.rows + j * K, w->overlap_mine, p->overlap.state + j);
    if (!x || !y) return 0;
    const double sum = kl_dot(x, y, K), error = p->overlap.error;
    if (!(sum > 0x1p-900 && sum < 0x1p900)) return 0;
    if (f->finish == KL_LOG) {
        const double log_sum = log(sum);
        *value = f->factor * log_sum;
        return accept * fabs(log_sum) >= error;
    }
    *value = kl_finished(f, (1 - sum) / (f->number * f->rest));
    return accept * fabs(1 - sum) >= error * sum;
}

"""The C interface (src_c/klfast.h) as Cython sees it."""
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "klfast.h" nogil:
    ctypedef struct kl_family:
        const char *name
        int64_t (*width)(int64_t) noexcept nogil
        int64_t (*sums)(int64_t) noexcept nogil

    const kl_family *kl_family_named(const char *)
    double kl_mean_length(double, double, double *)
    int KL_PARAMETER_NAN, KL_PARAMETER_INFINITE, KL_PARAMETER_NEGATIVE, KL_PARAMETER_NOT_POSITIVE
    int KL_PARAMETER_NOT_PROBABILITY, KL_PARAMETER_NOT_INTEGER, KL_PARAMETER_NOT_ABOVE_LOW, KL_PARAMETER_NOT_UNIT
    int KL_PARAMETER_BELOW_DIMENSION
    int KL_FLOAT64, KL_FLOAT32, KL_FLOAT16, KL_BFLOAT16
    int KL_INT8, KL_UINT8, KL_INT16, KL_UINT16, KL_INT32, KL_UINT32, KL_INT64, KL_UINT64
    int KL_ROW_NAN, KL_ROW_INFINITE, KL_ROW_NEGATIVE, KL_ROW_EMPTY, KL_ROW_SUM, KL_ROW_PARAMETER
    int KL_ROW_OF_Q
    int KL_PROBS, KL_LOGITS, KL_MEASURE, KL_FAMILY
    int KL_KL, KL_JEFFREYS, KL_POWER, KL_ITAKURA_SAITO, KL_SKEW_JS, KL_SKEW_KL, KL_VARIATION, KL_TRIANGULAR
    int KL_LINEAR, KL_SQRT, KL_LOG
    int KL_PRODUCT, KL_SUM_JS, KL_SUM_SKEW, KL_SUM_ABS, KL_SUM_TRIANGLE, KL_SUM_FAMILY, KL_OVERLAP
    int KL_SUPPORT_FREE, KL_SUPPORT_WITHIN, KL_SUPPORT_EQUAL, KL_SUPPORT_MEETING
    int KL_REDUCE_SUM, KL_REDUCE_MIN, KL_REDUCE_MAX
    int KL_MEAN, KL_NATURAL

    ctypedef struct kl_part:
        const char *data
        int64_t row_stride, col_stride, n_cols, side, line_stride

    int KL_MOST_PARTS

    ctypedef struct kl_rows:
        const char *data
        int64_t row_stride, col_stride, n_rows, n_cols
        const int64_t *index
        const int64_t *indptr
        const int32_t *indices
        const double *prior
        double prior_weight
        int32_t weight_by_sum, storage, domain, take_log
        const kl_family *family
        kl_part *part
        int32_t n_parts

    ctypedef struct kl_norm:
        double a, b

    ctypedef struct kl_divergence:
        int32_t kind, finish, adds_entropy
        double number, rest, scale, factor
        int32_t by_terms, by_overlap

    int kl_shape_of(const kl_divergence *)
    int kl_by_terms(const kl_divergence *, const kl_rows *)
    int kl_has_overlap(const kl_divergence *, int32_t)
    int kl_support_of(const kl_divergence *)
    int64_t kl_width_of(const kl_divergence *, const kl_rows *)
    int64_t kl_scratch_of(const kl_divergence *, const kl_rows *)
    void kl_contributions(const kl_divergence *, int32_t, const double *, const double *, int64_t, double *)

    ctypedef struct kl_stats:
        uint64_t recomputed, equal, candidates
        uint32_t isa_ran, status
        int64_t status_row
        double status_value

    ctypedef struct kl_center:
        const double *row
        kl_norm norm
        const double *probs
        const double *scale
        const double *unscale
        const double *inverse
        double balance

    ctypedef struct kl_bytes:
        int8_t *bytes
        float *inverse
        float *residual
        float *norm
        int32_t *shift

    ctypedef struct kl_encode_args:
        const kl_divergence *divergence
        const kl_rows *rows
        const kl_norm *norms
        const kl_center *center
        const double *extra
        int64_t begin, end
        int32_t role, single, width
        double norm_factor, slack_factor, slack_floor
        double *scratch
        void *features
        void *offset
        void *norm
        void *slack
        kl_bytes bytes
        uint64_t *support

    ctypedef struct kl_kernels:
        const char *name
        uint32_t bit
        int32_t mr64, nr64, mr32, nr32, coarse
        void (*scan)(const kl_rows *, int64_t, int64_t, double, kl_norm *, int32_t *, double *,
                     kl_stats *) noexcept nogil
        void (*accumulate)(const kl_rows *, const kl_norm *, int64_t, int64_t, double *, double *,
                           kl_stats *) noexcept nogil
        void (*rowwise)(const kl_divergence *, const kl_rows *, const kl_rows *, int64_t, int64_t, double, double,
                        int32_t, double *, double *, kl_stats *) noexcept nogil
        void (*entropy)(const kl_rows *, const kl_norm *, int64_t, int64_t, double *, double *,
                        kl_stats *) noexcept nogil
        const double *(*read)(const kl_rows *, int64_t, double *) noexcept nogil
        void (*encode)(const kl_encode_args *, kl_stats *) noexcept nogil

    int kl_isa_count()
    const kl_kernels *kl_isa_at(int)
    int kl_isa_supported(int)

    ctypedef struct kl_team:
        int32_t size

    int kl_seated(kl_team *, int)
    void kl_family_scan(const kl_kernels *, const kl_rows *, int64_t, int64_t, double *, kl_stats *)
    void kl_family_rowwise(const kl_divergence *, const kl_kernels *, const kl_rows *, const kl_rows *, int64_t,
                           int64_t, double *, double *, kl_stats *)
    void kl_family_entropy(const kl_kernels *, const kl_rows *, int64_t, int64_t, double *, double *)
    void kl_family_accumulate(const kl_kernels *, const kl_rows *, int64_t, int64_t, double *, double *)
    void kl_family_center(const kl_kernels *, const kl_rows *, double *, double *, double *)

    void kl_row_keys(const kl_kernels *, const kl_rows *, const kl_norm *, int, int64_t, int64_t, double *, uint64_t *)
    int64_t kl_key_slots(int64_t)
    int64_t kl_keys_enter(const uint64_t *, int64_t, uint64_t *, int64_t *)
    void kl_keys_find(const uint64_t *, int64_t, const uint64_t *, const uint64_t *, int64_t, int64_t, int64_t *)
    void kl_compare_rows(const kl_kernels *, const kl_rows *, const kl_rows *, const int64_t *, const int64_t *,
                         int64_t, int64_t, int8_t *, int8_t *, double *)

    ctypedef struct kl_far:
        double base, by_slack, by_value, usual

    ctypedef struct kl_pairing:
        const kl_kernels *kernels
        const kl_divergence *divergence
        const kl_rows *left
        const kl_rows *right
        const kl_norm *left_norms
        const kl_norm *right_norms
        const kl_center *center
        int32_t left_role, single
        double norm_factor, slack_factor, slack_floor
        kl_far far
        const double *left_extra
        const void *features
        const void *offset
        const void *norm
        const void *slack
        kl_bytes bytes
        const void *weights
        const uint64_t *right_support
        const int64_t *left_class
        const int64_t *right_class
        int64_t column_block, row_block
        kl_norm *unchecked
        double sum_tolerance

    int64_t kl_workspace_bytes(const kl_pairing *, int64_t)

    ctypedef struct kl_dense_out:
        char *data
        int64_t row_stride, col_stride
        int32_t single
        double accept
        int32_t stream

    void kl_dense_block(const kl_pairing *, const kl_dense_out *, int64_t, int64_t, int64_t, int64_t,
                        void *, kl_stats *)

    ctypedef struct kl_sample:
        const void *features
        const void *offset
        const void *norm
        const void *slack
        int64_t count

    ctypedef struct kl_top:
        int64_t k, capacity
        int32_t skip_self, same
        kl_sample sample
        const float *few

    int kl_checks_left(const kl_pairing *, const kl_top *)
    int64_t kl_few_floats(const kl_pairing *, const kl_top *)
    void kl_few_columns(const kl_pairing *, float *)
    void kl_top_block(const kl_pairing *, const kl_top *, int64_t, int64_t, int64_t, int64_t,
                      double *, int64_t *, void *, kl_stats *)
    ctypedef struct kl_hit:
        double value
        int64_t row, column

    void kl_within_begin(const kl_pairing *, double, int64_t, int64_t, void *, kl_stats *)
    int64_t kl_within_tile(const kl_pairing *, double, int32_t, int64_t, int64_t, int64_t, int64_t, void *, kl_hit *,
                           kl_stats *)
    void kl_within_sort(const kl_hit *, int64_t, int64_t, int64_t, const int64_t *, int64_t *, kl_hit *, double *,
                        int64_t *)
    void kl_reduce_block(const kl_pairing *, int32_t, int32_t, double, int64_t, int64_t, int64_t, int64_t, double *,
                         double *, void *, kl_stats *)
    ctypedef struct kl_row_sums:
        double *sum
        double *low
        uint64_t *every
        uint64_t *any

    int64_t kl_mean_doubles(const kl_encode_args *)
    void kl_row_sums_add(const kl_kernels *, const kl_encode_args *, int64_t, int64_t, kl_row_sums *, double *,
                         kl_stats *)
    void kl_row_sums_mean(kl_row_sums *, int64_t, const kl_encode_args *)
    void kl_mean_values(const kl_kernels *, const kl_encode_args *, const kl_row_sums *, double, int64_t, int64_t,
                        double *, uint8_t *, double *, kl_stats *)
    void kl_top_expand(int64_t, int64_t, const double *, const int64_t *, const int64_t *,
                       const int64_t *, int64_t, double *, int64_t *, int64_t *)

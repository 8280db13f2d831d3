/* x86-64 with AVX2 and FMA: 16 registers of 256 bits. */
#include <immintrin.h>
#include <stdint.h>
#define KL_VECTOR_BYTES 32
#define KL_HAS_FMA 1
#define KL_ISA_BIT 2u
#define KL_MR64 6
#define KL_MR32 6
#define KL_LOCKSTEP 2
#define KL_FMA_F64(a, b, c) ((vf64)_mm256_fmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c)))
#define KL_FMA_F32(a, b, c) ((vf32)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define KL_BITS_F64(m) ((uint32_t)_mm256_movemask_pd((__m256d)(m)))
#define KL_BITS_F32(m) ((uint32_t)_mm256_movemask_ps((__m256)(m)))
#define KL_SELECT_F64(m, a, b) ((vf64)_mm256_blendv_pd((__m256d)(b), (__m256d)(a), (__m256d)(m)))
#define KL_MAX_F64(a, b) ((vf64)_mm256_max_pd((__m256d)(a), (__m256d)(b)))
#define KL_MAX_F32(a, b) ((vf32)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define KL_MIN_F64(a, b) ((vf64)_mm256_min_pd((__m256d)(a), (__m256d)(b)))
#define KL_MIN_F32(a, b) ((vf32)_mm256_min_ps((__m256)(a), (__m256)(b)))
#define KL_STREAM_F64(p, x) _mm256_stream_pd(p, (__m256d)(x))
#define KL_STREAM_F32(p, x) _mm256_stream_ps(p, (__m256)(x))
#define KL_STREAM_END() _mm_sfence()
#define KL_WIDENED_F32(x) ((vf64)_mm256_cvtps_pd(_mm_loadu_ps(x)))
static inline __attribute__((always_inline)) __m256d kl_part_avx2(const double *x, int64_t n, double fill)
{
    const __m256i in = _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
    return _mm256_blendv_pd(_mm256_set1_pd(fill), _mm256_maskload_pd(x, in), (__m256d)in);
}
static inline __attribute__((always_inline)) __m256d kl_part_wide_avx2(const float *x, int64_t n, float fill)
{
    const __m128i in = _mm_cmpgt_epi32(_mm_set1_epi32((int)n), _mm_setr_epi32(0, 1, 2, 3));
    return _mm256_cvtps_pd(_mm_blendv_ps(_mm_set1_ps(fill), _mm_maskload_ps(x, in), (__m128)in));
}
#define KL_PART_F64(x, n, fill) ((vf64)kl_part_avx2(x, n, fill))
#define KL_PART_F32(x, n, fill) ((vf64)kl_part_wide_avx2(x, n, fill))
#define KL_LOOKUP_F32(table, i) ((vf32)_mm256_permutevar8x32_ps(_mm256_load_ps(table), (__m256i)(i)))

/* Each half of the table is eight floats to the permutation: bits 0 and 1 of an index choose two neighbours, bit 2 the
 * half. */
static inline __attribute__((always_inline)) __m256d kl_lookup_avx2(const double *table, __m256i i)
{
    const __m256i twice = _mm256_slli_epi64(i, 1);
    const __m256i pair = _mm256_or_si256(_mm256_shuffle_epi32(twice, 0xa0), _mm256_set1_epi64x(1LL << 32));
    const __m256 low = _mm256_permutevar8x32_ps((__m256)_mm256_load_pd(table), pair);
    const __m256 high = _mm256_permutevar8x32_ps((__m256)_mm256_load_pd(table + 4), pair);
    return _mm256_blendv_pd((__m256d)low, (__m256d)high, (__m256d)_mm256_slli_epi64(i, 61));
}
#define KL_LOOKUP_F64(table, i) ((vf64)kl_lookup_avx2(table, (__m256i)(i)))

#include "../kernels/kernels.h"

const kl_kernels kl_kernels_avx2 = KL_TABLE("avx2");

/* x86-64 with AVX-512 F, DQ, VL and BW: 32 registers of 512 bits. */
#include <immintrin.h>
#define KL_VECTOR_BYTES 64
#define KL_HAS_FMA 1
#ifndef KL_ISA_BIT
#define KL_ISA_BIT 4u
#endif
#define KL_MR64 12
#define KL_MR32 12
#define KL_LOCKSTEP 4
#define KL_FMA_F64(a, b, c) ((vf64)_mm512_fmadd_pd((__m512d)(a), (__m512d)(b), (__m512d)(c)))
#define KL_FMA_F32(a, b, c) ((vf32)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define KL_BITS_F64(m) ((uint32_t)_mm512_movepi64_mask((__m512i)(m)))
#define KL_BITS_F32(m) ((uint32_t)_mm512_movepi32_mask((__m512i)(m)))
#define KL_SELECT_F64(m, a, b) \
    ((vf64)_mm512_mask_blend_pd(_mm512_movepi64_mask((__m512i)(m)), (__m512d)(b), (__m512d)(a)))
#define KL_IF_ZERO_F64(x, a, b) \
    ((vf64)_mm512_mask_blend_pd(_mm512_testn_epi64_mask((__m512i)(x), (__m512i)(x)), (__m512d)(b), (__m512d)(a)))
#define KL_IF_LESS_F64(x, y, a, b) \
    ((vf64)_mm512_mask_blend_pd(_mm512_cmp_pd_mask((__m512d)(x), (__m512d)(y), _CMP_LT_OQ), (__m512d)(b), (__m512d)(a)))
#define KL_CONVERT_F64(x) ((vf64)_mm512_cvtepi64_pd((__m512i)(x)))
#define KL_EXPONENT_F64(x) ((vf64)_mm512_getexp_pd((__m512d)(x)))
#define KL_EXPONENT_F32(x) ((vf32)_mm512_getexp_ps((__m512)(x)))
#define KL_MANTISSA_F64(x) ((vf64)_mm512_getmant_pd((__m512d)(x), _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src))
#define KL_MANTISSA_F32(x) ((vf32)_mm512_getmant_ps((__m512)(x), _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src))
#define KL_WIDENED_F32(x) ((vf64)_mm512_cvtps_pd(_mm256_loadu_ps(x)))
#define KL_PART_F64(x, n, fill) ((vf64)_mm512_mask_loadu_pd(_mm512_set1_pd(fill), (__mmask8)((1u << (n)) - 1), x))
#define KL_PART_F32(x, n, fill) \
    ((vf64)_mm512_cvtps_pd(_mm256_mask_loadu_ps(_mm256_set1_ps(fill), (__mmask8)((1u << (n)) - 1), x)))
#define KL_MAX_F64(a, b) ((vf64)_mm512_max_pd((__m512d)(a), (__m512d)(b)))
#define KL_MAX_F32(a, b) ((vf32)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define KL_MIN_F64(a, b) ((vf64)_mm512_min_pd((__m512d)(a), (__m512d)(b)))
#define KL_MIN_F32(a, b) ((vf32)_mm512_min_ps((__m512)(a), (__m512)(b)))
#define KL_STREAM_F64(p, x) _mm512_stream_pd(p, (__m512d)(x))
#define KL_STREAM_F32(p, x) _mm512_stream_ps(p, (__m512)(x))
#define KL_STREAM_END() _mm_sfence()
#define KL_LOOKUP_F64(table, i) ((vf64)_mm512_permutexvar_pd((__m512i)(i), _mm512_load_pd(table)))
#define KL_LOOKUP_F32(table, i) \
    ((vf32)_mm512_permutexvar_ps((__m512i)(i), _mm512_broadcast_f32x8(_mm256_load_ps(table))))
#include "../kernels/kernels.h"

#ifndef KL_DOT_BYTES
const kl_kernels kl_kernels_avx512 = KL_TABLE("avx512");
#endif

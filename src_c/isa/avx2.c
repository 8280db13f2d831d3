/* x86-64 with AVX2 and FMA: 16 registers of 256 bits. */
#include <immintrin.h>
#define KL_VECTOR_BYTES 32
#define KL_HAS_FMA 1
#define KL_ISA_BIT 2u
#define KL_MR64 6
#define KL_MR32 6
#define KL_FMA_F64(a, b, c) ((vf64)_mm256_fmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c)))
#define KL_FMA_F32(a, b, c) ((vf32)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define KL_BITS_F64(m) ((uint32_t)_mm256_movemask_pd((__m256d)(m)))
#define KL_BITS_F32(m) ((uint32_t)_mm256_movemask_ps((__m256)(m)))
#define KL_SELECT_F64(m, a, b) ((vf64)_mm256_blendv_pd((__m256d)(b), (__m256d)(a), (__m256d)(m)))
#define KL_IF_ZERO_F64(x, a, b) KL_SELECT_F64((x) == 0, a, b)
#define KL_IF_ZERO_F32(x, a, b) ((vf32)_mm256_blendv_ps((__m256)(b), (__m256)(a), (__m256)((x) == 0)))
#define KL_MIN_F64(a, b) ((vf64)_mm256_min_pd((__m256d)(a), (__m256d)(b)))
#define KL_MIN_F32(a, b) ((vf32)_mm256_min_ps((__m256)(a), (__m256)(b)))
#include "../kernels/kernels.h"

const kl_kernels kl_kernels_avx2 = KL_TABLE("avx2");

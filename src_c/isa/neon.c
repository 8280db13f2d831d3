/* 64-bit Arm: 32 registers of 128 bits, fused multiply-add. */
#include <arm_neon.h>
#define KL_VECTOR_BYTES 16
#define KL_HAS_FMA 1
#define KL_ISA_BIT 8u
#define KL_MR64 8
#define KL_MR32 8
#define KL_LOCKSTEP 4
#define KL_FMA_F64(a, b, c) ((vf64)vfmaq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b)))
#define KL_FMA_F32(a, b, c) ((vf32)vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b)))
#define KL_BITS_F64(m) ((uint32_t)(((m)[0] & 1) | ((m)[1] & 2)))
#define KL_BITS_F32(m) ((uint32_t)(((m)[0] & 1) | ((m)[1] & 2) | ((m)[2] & 4) | ((m)[3] & 8)))
#define KL_SELECT_F64(m, a, b) ((vf64)(((m) & (vi64)(a)) | (~(m) & (vi64)(b))))
#define KL_MAX_F64(a, b) KL_SELECT_F64((a) > (b), a, b)
#define KL_MAX_F32(a, b) ((vf32)((((a) > (b)) & (vi32)(a)) | (~((a) > (b)) & (vi32)(b))))
#define KL_MIN_F64(a, b) KL_SELECT_F64((a) < (b), a, b)
#define KL_MIN_F32(a, b) ((vf32)((((a) < (b)) & (vi32)(a)) | (~((a) < (b)) & (vi32)(b))))
#include "../kernels/kernels.h"

const kl_kernels kl_kernels_neon = KL_TABLE("neon");

/* Runs on every processor that the compiler's default target covers; no fused multiply-add. */
#define KL_VECTOR_BYTES 16
#define KL_HAS_FMA 0
#define KL_ISA_BIT 1u
#define KL_MR64 4
#define KL_MR32 4
#define KL_LOCKSTEP 2
#define KL_FMA_F64(a, b, c) ((a) * (b) + (c))
#define KL_FMA_F32(a, b, c) ((a) * (b) + (c))
#define KL_BITS_F64(m) ((uint32_t)((m)[0] & 1) | (uint32_t)((m)[1] & 2))
#define KL_BITS_F32(m) ((uint32_t)(((m)[0] & 1) | ((m)[1] & 2) | ((m)[2] & 4) | ((m)[3] & 8)))
#define KL_SELECT_F64(m, a, b) ((vf64)(((m) & (vi64)(a)) | (~(m) & (vi64)(b))))
#define KL_MAX_F64(a, b) KL_SELECT_F64((a) > (b), a, b)
#define KL_MAX_F32(a, b) ((vf32)((((a) > (b)) & (vi32)(a)) | (~((a) > (b)) & (vi32)(b))))
#define KL_MIN_F64(a, b) KL_SELECT_F64((a) < (b), a, b)
#define KL_MIN_F32(a, b) ((vf32)((((a) < (b)) & (vi32)(a)) | (~((a) < (b)) & (vi32)(b))))
#include "../kernels/kernels.h"

const kl_kernels kl_kernels_baseline = KL_TABLE("baseline");

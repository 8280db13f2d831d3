/* Everything that an ISA provides, compiled with its flags: its file defines the vectors and includes this. */
#include "vec.h"
#include "sum.h"
#include "read.h"
#include "log_ratio.h"
#include "direct_kl.h"
#include "logits.h"
#include "features.h"
#include "rows.h"

/* Longest run of multiply-adds into one accumulator; the certificate counts on it (plan.py). */
#define KL_CHAIN 256

#define KL_T double
#define KL_V vf64
#define KL_W KL_W64
#define KL_MR KL_MR64
#define KL_FMA KL_FMA_F64
#define KL_MIN KL_MIN_F64
#define KL_EPSILON 0x1p-52
#define KL_BITS(mask) KL_BITS_F64(mask)
#define KL_NAME(x) x##_f64
#include "product.h"

#define KL_T float
#define KL_V vf32
#define KL_W KL_W32
#define KL_MR KL_MR32
#define KL_FMA KL_FMA_F32
#define KL_MIN KL_MIN_F32
#define KL_EPSILON 0x1p-23
#define KL_BITS(mask) KL_BITS_F32(mask)
#define KL_NAME(x) x##_f32
#include "product.h"

#define KL_TABLE(isa_name)                                                                     \
    {                                                                                          \
        .name = isa_name, .bit = KL_ISA_BIT, .mr64 = KL_MR64, .nr64 = 2 * KL_W64,              \
        .mr32 = KL_MR32, .nr32 = 2 * KL_W32, .scan = kl_scan, .accumulate = kl_accumulate,     \
        .rowwise = kl_rowwise, .entropy = kl_entropy,                                          \
        .direct = {kl_direct_probs, kl_direct_logits}, .read = kl_read, .encode = kl_encode,   \
        .dense64 = kl_dense_f64, .dense32 = kl_dense_f32, .screen32 = kl_screen_f32,           \
        .screen64 = kl_screen_f64,                                                             \
    }

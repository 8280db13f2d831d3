/* Everything that an ISA provides, compiled with its flags: its file defines the vectors and includes this. */
#include "vec.h"
#include "sum.h"
#include "read.h"
#include "log_ratio.h"
#include "direct_kl.h"
#include "logits.h"
#include "features.h"
#include "bins.h"
#include "terms.h"
#include "value.h"
#include "features_other.h"
#include "rows.h"
#include "encode.h"

/* Longest run of multiply-adds into one accumulator; the certificate counts on it (plan.py). */
#define KL_CHAIN 256

/* s(w)/w as in log_ratio.h, on [0, 0.0295]: relative errors 5e-16 and 3e-7 of s, which is at most 0.07 of what it
 * is added to. */
static const double KL_ATANH_7[7] = {
    0x1.5555555555558p-2, 0x1.99999999952e2p-3, 0x1.2492492df148dp-3, 0x1.c71c62e5800a1p-4,
    0x1.7462b4ab2ef6bp-4, 0x1.39fe606542ddep-4, 0x1.2b584aae78a57p-4};
static const float KL_ATANH_3[3] = {0x1.55555cp-2f, 0x1.997c30p-3f, 0x1.2ee610p-3f};

/* h(r)/r^2 on [sqrt(1/2) - 1, sqrt(2) - 1], relative error 5e-8 (mpmath.chebyfit, 8 coefficients). */
static const float KL_H_8[8] = {0x1.ffffffp-2f, -0x1.555588p-3f, 0x1.5556a4p-4f, -0x1.9957b2p-5f, 0x1.105f5bp-5f,
                                -0x1.90546ep-6f, 0x1.423538p-6f, -0x1.6b18edp-7f};

/* e ln2 for integers e given times 2^mantissa. */
KL_INLINE vf64 kl_exponent_ln2_f64(vu64 scaled)
{
#ifdef KL_CONVERT_F64
    return KL_CONVERT_F64(scaled) * (KL_LN2 * 0x1p-52);
#else
    vu64 biased = (scaled + 0x3ff0000000000000u) >> 52; /* into the mantissa of 2^52 */
    return ((vf64)(biased | 0x4330000000000000u) - (4503599627370496.0 + 1023.0)) * KL_LN2;
#endif
}
KL_INLINE vf32 kl_exponent_ln2_f32(vu32 scaled)
{
    return __builtin_convertvector((vi32)scaled, vf32) * ((float)KL_LN2 * 0x1p-23f);
}
KL_INLINE vf64 kl_magnitude_f64(vf64 x) { return kl_abs(x); }
KL_INLINE vf32 kl_magnitude_f32(vf32 x) { return (vf32)((vi32)x & INT32_MAX); }

#define KL_T double
#define KL_U vu64
#define KL_ONE_BITS 0x3ff0000000000000u
#define KL_ROOT_SHIFT (0x3ff0000000000000u - 0x3fe6a09e667f3bcdu) /* the bits of 1 less those of sqrt(1/2) */
#define KL_EXPONENT_BITS 0x7ff0000000000000u
#define KL_IF_ZERO KL_IF_ZERO_F64
#define KL_SERIES 7
#define KL_ATANH_SMALL KL_ATANH_7
#define KL_LEAST_TOTAL 0x1p-1000
#define KL_V vf64
#define KL_W KL_W64
#define KL_MR KL_MR64
#define KL_FMA KL_FMA_F64
#define KL_MIN KL_MIN_F64
#define KL_EPSILON 0x1p-52
#define KL_BITS(mask) KL_BITS_F64(mask)
#define KL_COARSE 0
#define KL_NAME(x) x##_f64
#define KL_FAMILY_TILES
#include "product.h"
#undef KL_FAMILY_TILES

#define KL_T float
#define KL_U vu32
#define KL_ONE_BITS 0x3f800000u
#define KL_ROOT_SHIFT (0x3f800000u - 0x3f3504f3u)
#define KL_EXPONENT_BITS 0x7f800000u
#define KL_IF_ZERO KL_IF_ZERO_F32
#define KL_H KL_H_8
#define KL_H_SERIES 8
#define KL_SERIES 3
#define KL_ATANH_SMALL KL_ATANH_3
#define KL_LEAST_TOTAL 0x1p-120f
#define KL_V vf32
#define KL_W KL_W32
#define KL_MR KL_MR32
#define KL_FMA KL_FMA_F32
#define KL_MIN KL_MIN_F32
#define KL_EPSILON 0x1p-23
#define KL_BITS(mask) KL_BITS_F32(mask)
#ifdef KL_DOT_BYTES
#define KL_COARSE 1
#define KL_ROWS_OF_BYTES KL_W32
#else
#define KL_COARSE 0
#define KL_ROWS_OF_BYTES 0
#endif
#define KL_NAME(x) x##_f32
#include "product.h"

#define KL_SHAPES(what, type)                                                                  \
    kl_##what##_product_##type, kl_##what##_js_##type, kl_##what##_skew_##type,               \
     kl_##what##_abs_##type, kl_##what##_triangle_##type, kl_##what##_bent_##type

#define KL_TABLE(isa_name)                                                                     \
    {                                                                                          \
        .name = isa_name, .bit = KL_ISA_BIT, .mr64 = KL_MR64, .nr64 = 2 * KL_W64,              \
        .mr32 = KL_MR32, .nr32 = 2 * KL_W32, .coarse = KL_ROWS_OF_BYTES, .scan = kl_scan, .accumulate = kl_accumulate,     \
        .rowwise = kl_rowwise, .entropy = kl_entropy, .value = kl_value, .read = kl_read,      \
        .encode = kl_encode, .finish = kl_finish_values, .term_rows = kl_term_rows,            \
        .dense = {{KL_SHAPES(dense, f64), kl_dense_family_f64}, {KL_SHAPES(dense, f32)}},      \
        .screen = {{KL_SHAPES(screen, f64), kl_screen_family_f64}, {KL_SHAPES(screen, f32)}},  \
        .ends = {{KL_SHAPES(ends, f64), kl_ends_family_f64}, {KL_SHAPES(ends, f32)}},          \
    }

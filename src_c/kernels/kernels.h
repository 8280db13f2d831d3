/* Everything that an ISA provides, compiled with its flags: its file defines the vectors and includes this. */
#include "vec.h"
#include "sum.h"
#include "log_ratio.h"
#include "read.h"
#include "direct_kl.h"
#include "softmax.h"
#include "logit_pass.h"
#include "logits.h"
#include "cells.h"
#include "features.h"
#include "bins.h"
#include "terms.h"
#include "value.h"
#include "features_other.h"
#include "features_overlap.h"
#include "logit_rows.h"
#include "logit_brief.h"
#include "weight_rows.h"
#include "rows.h"
#include "triangles.h"
#include "encode.h"

/* Longest run of multiply-adds into one accumulator; the certificate counts on it (plan.py). */
#define KL_CHAIN 256
#define KL_FAR_CHAIN 32 /* the same for rows far apart (far.h); a part of KL_CHAIN */

KL_INLINE vf64 kl_magnitude_f64(vf64 x) { return kl_abs(x); }
KL_INLINE vf32 kl_magnitude_f32(vf32 x) { return (vf32)((vi32)x & INT32_MAX); }

#define KL_T double
#define KL_U vu64
#define KL_CELL_BITS 49 /* of a number, below those that tell its cell: 3 of the mantissa and the exponent */
#define KL_CELL_MASK 0xfffe000000000000u
#define KL_CELL_SHIFT 0x1700000000000u /* 23/32 of a cell */
#define KL_COUNT_BITS 0x4330000000000000u /* 2^52, of which an integer makes 2^52 + itself */
#define KL_COUNT_OF_1 (0x1p52 + 8 * 1023)
#define KL_LOOKUP KL_LOOKUP_F64
#define KL_CELLS KL_CELLS_F64
#define KL_H KL_H_F64
#define KL_LOG1P KL_LOG1P_F64
#define KL_MANTISSA KL_MANTISSA_F64
#define KL_EXPONENT KL_EXPONENT_F64
#define KL_FAR_CELLS KL_FAR_CELLS_F64
#define KL_FAR_SHIFT KL_FAR_SHIFT_F64
#define KL_FAR_TERMS KL_FAR_TERMS_F64
#define KL_FAR_LEAD(w) (-(w))
#define KL_LEAST_TOTAL 0x1p-1000
#define KL_V vf64
#define KL_W KL_W64
#define KL_MR KL_MR64
#define KL_FMA KL_FMA_F64
#define KL_MIN KL_MIN_F64
#define KL_MAX KL_MAX_F64
#define KL_STREAM KL_STREAM_F64
#define KL_EPSILON 0x1p-52
#define KL_BITS(mask) KL_BITS_F64(mask)
#define KL_COARSE 0
#define KL_NAME(x) x##_f64
#define KL_FAMILY_TILES
#include "product.h"
#undef KL_FAMILY_TILES

#define KL_T float
#define KL_U vu32
#define KL_CELL_BITS 20
#define KL_CELL_MASK 0xfff00000u
#define KL_CELL_SHIFT 0x98000u /* 19/32 */
#define KL_COUNT_BITS 0x4b000000u
#define KL_COUNT_OF_1 (0x1p23f + 8 * 127)
#define KL_LOOKUP KL_LOOKUP_F32
#define KL_CELLS KL_CELLS_F32
#define KL_H KL_H_F32
#define KL_LOG1P KL_LOG1P_F32
#define KL_MANTISSA KL_MANTISSA_F32
#define KL_EXPONENT KL_EXPONENT_F32
#define KL_FAR_CELLS KL_FAR_CELLS_F32
#define KL_FAR_SHIFT KL_FAR_SHIFT_F32
#define KL_FAR_TERMS KL_FAR_TERMS_F32
#define KL_FAR_LEAD(w) (w)
#define KL_LEAST_TOTAL 0x1p-120f
#define KL_V vf32
#define KL_W KL_W32
#define KL_MR KL_MR32
#define KL_FMA KL_FMA_F32
#define KL_MIN KL_MIN_F32
#define KL_MAX KL_MAX_F32
#define KL_STREAM KL_STREAM_F32
#define KL_EPSILON 0x1p-23
#define KL_BITS(mask) KL_BITS_F32(mask)
#ifdef KL_DOT_BYTES
#define KL_COARSE 1
#define KL_ROWS_OF_BYTES KL_W32
#define KL_FEW_COLUMNS kl_few_columns_of
#else
#define KL_COARSE 0
#define KL_ROWS_OF_BYTES 0
#define KL_FEW_COLUMNS NULL
#endif
#define KL_NAME(x) x##_f32
#include "product.h"
#include "few.h"
#include "family_lines.h"
#include "dirichlet_rows.h"

#define KL_SHAPES(what, type)                                                                  \
    kl_##what##_product_##type, kl_##what##_js_##type, kl_##what##_skew_##type,               \
     kl_##what##_abs_##type, kl_##what##_triangle_##type, kl_##what##_bent_##type

#define KL_TABLE(isa_name)                                                                     \
    {                                                                                          \
        .name = isa_name, .bit = KL_ISA_BIT, .mr64 = KL_MR64, .nr64 = 2 * KL_W64,              \
        .mr32 = KL_MR32, .nr32 = 2 * KL_W32, .coarse = KL_ROWS_OF_BYTES, .scan = kl_scan, .accumulate = kl_accumulate,     \
        .rowwise = kl_rowwise, .entropy = kl_entropy, .values = kl_values,  \
        .read = kl_read,                                                                       \
        .encode = kl_encode, .triangles = &kl_triangles_here, .family_line = kl_family_line,  \
        .dirichlet_rest = kl_dirichlet_rest, .dirichlet_gap = kl_dirichlet_gap,                \
        .dense = {{KL_SHAPES(dense, f64), kl_dense_family_f64, kl_dense_overlap_f64},          \
                  {KL_SHAPES(dense, f32), NULL, kl_dense_overlap_f32}},                        \
        .screen = {{KL_SHAPES(screen, f64), kl_screen_family_f64, kl_screen_overlap_f64},      \
                   {KL_SHAPES(screen, f32)}},                                                  \
        .ends = {{KL_SHAPES(ends, f64), kl_ends_family_f64, kl_ends_overlap_f64},              \
                 {KL_SHAPES(ends, f32)}},                                                      \
        .hits = {kl_hits_f64, kl_hits_f32}, .nearest = kl_nearest,                        \
        .few_columns = KL_FEW_COLUMNS,                                                         \
    }

/* Vector types and the few operations on them that C does not spell, for the ISA that includes this.
 *
 * The ISA file defines before: KL_VECTOR_BYTES, KL_HAS_FMA, and KL_FMA_F64, KL_FMA_F32, KL_BITS_F64,
 * KL_BITS_F32 (sign bits of the lanes of a mask, as an integer), KL_SELECT_F64 (mask, yes, no), KL_MIN_F64, KL_MIN_F32,
 * KL_MAX_F64, KL_MAX_F32 (the second operand if either is NaN), KL_LOCKSTEP (vectors that a sum over bins takes side by
 * side: 4 where there are 32 registers, else 2). May be missing: KL_CONVERT_F64 (int64 to double), KL_WIDENED_F32 (KL_W64 floats at x as
 * doubles), KL_IF_LESS_F64 (x < y ? a : b), KL_IF_ZERO_F64 (an integer x, x ? b : a), KL_LOOKUP_F64 and KL_LOOKUP_F32
 * (entries of an aligned table of 8, by the low 3 bits of integers), KL_STREAM_F64 and KL_STREAM_F32 (store to an
 * aligned address, past the caches) with KL_STREAM_END (before another thread may read those), KL_PART_F64 and
 * KL_PART_F32 (KL_W64 doubles, from floats with the latter: n numbers at x, then `fill`), KL_DOT_BYTES and KL_LOW_BYTES
 * (coarse.h, bytes.h).
 *
 * Lanes. Sums over the bins of one row always run in KL_LANES interleaved partial sums, whatever the
 * width of the machine's vectors: a group of KL_NV vectors holds them. So every ISA adds the same
 * numbers in the same order and, given fused multiply-adds, returns the same bits.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../klfast.h"

#define KL_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define KL_UNROLL _Pragma("clang loop unroll(full)")
#else
#define KL_UNROLL _Pragma("GCC unroll 32")
#endif

/* The compiler shall not know how this value came about. */
#define KL_OPAQUE(x) __asm__("" : "+r"(x))

typedef double vf64 __attribute__((vector_size(KL_VECTOR_BYTES)));
typedef float vf32 __attribute__((vector_size(KL_VECTOR_BYTES)));
typedef int64_t vi64 __attribute__((vector_size(KL_VECTOR_BYTES)));
typedef uint64_t vu64 __attribute__((vector_size(KL_VECTOR_BYTES)));
typedef int32_t vi32 __attribute__((vector_size(KL_VECTOR_BYTES)));
typedef uint32_t vu32 __attribute__((vector_size(KL_VECTOR_BYTES)));
typedef double vf64_unaligned __attribute__((vector_size(KL_VECTOR_BYTES), aligned(8), may_alias));
typedef float vf32_unaligned __attribute__((vector_size(KL_VECTOR_BYTES), aligned(4), may_alias));

#define KL_W64 (KL_VECTOR_BYTES / 8) /* doubles in a vector */
#define KL_W32 (KL_VECTOR_BYTES / 4)
#define KL_LANES 8
#define KL_NV (KL_LANES / KL_W64)    /* vectors in a lane group */
#define KL_SUM_BLOCK 64              /* bins added plainly before a compensated step */

/* The bytes of a row, in the row KL_FURTHER beyond. */
KL_INLINE void kl_ask_further(const void *x, int64_t bytes)
{
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)x + KL_FURTHER + i);
}

KL_INLINE vf64 kl_load_f64(const double *p) { return *(const vf64_unaligned *)p; }
KL_INLINE void kl_store_f64(double *p, vf64 v) { *(vf64_unaligned *)p = v; }
KL_INLINE vf32 kl_load_f32(const float *p) { return *(const vf32_unaligned *)p; }
KL_INLINE void kl_store_f32(float *p, vf32 v) { *(vf32_unaligned *)p = v; }
KL_INLINE vf64 kl_set_f64(double x) { return x - (vf64){0}; }
KL_INLINE vf32 kl_set_f32(float x) { return x - (vf32){0}; }
KL_INLINE vf64 kl_select(vi64 mask, vf64 yes, vf64 no) { return KL_SELECT_F64(mask, yes, no); }
#ifndef KL_STREAM_F64
#define KL_STREAM_F64(p, x) kl_store_f64(p, x)
#define KL_STREAM_F32(p, x) kl_store_f32(p, x)
#define KL_STREAM_END() ((void)0)
#endif
#ifndef KL_IF_LESS_F64
#define KL_IF_LESS_F64(x, y, a, b) KL_SELECT_F64((x) < (y), a, b)
#endif
#ifndef KL_IF_ZERO_F64
#define KL_IF_ZERO_F64(x, a, b) KL_SELECT_F64((vi64)((x) == 0), a, b)
#endif
#ifndef KL_LOOKUP_F64
KL_INLINE vf64 kl_lookup_f64(const double *table, vi64 index)
{
    vf64 r = {0};
    KL_UNROLL for (int j = 0; j < KL_W64; j++) r[j] = table[index[j] & 7];
    return r;
}
#define KL_LOOKUP_F64(table, index) kl_lookup_f64(table, (vi64)(index))
#endif
#ifndef KL_LOOKUP_F32
KL_INLINE vf32 kl_lookup_f32(const float *table, vi32 index)
{
    vf32 r = {0};
    KL_UNROLL for (int j = 0; j < KL_W32; j++) r[j] = table[index[j] & 7];
    return r;
}
#define KL_LOOKUP_F32(table, index) kl_lookup_f32(table, (vi32)(index))
#endif
/* Exponent and mantissa, in [1, 2), of positive normal numbers. */
#ifndef KL_EXPONENT_F64
#define KL_EXPONENT_F64(x) ((vf64)((vu64)(x) >> 52 | 0x4330000000000000u) - kl_set_f64(0x1p52 + 1023))
#define KL_EXPONENT_F32(x) ((vf32)((vu32)(x) >> 23 | 0x4b000000u) - kl_set_f32(0x1p23f + 127))
#define KL_MANTISSA_F64(x) ((vf64)(((vu64)(x) & 0xfffffffffffffu) | 0x3ff0000000000000u))
#define KL_MANTISSA_F32(x) ((vf32)(((vu32)(x) & 0x7fffffu) | 0x3f800000u))
#endif
KL_INLINE vf64 kl_abs(vf64 x) { return (vf64)((vi64)x & INT64_MAX); }

/* a*b + c with one rounding where it matters (b*a close to -c): in hardware, or by splitting the
 * product exactly (Dekker 1971; Veltkamp's constant 2^27 + 1). The software form rounds twice, at the size of the
 * result, which keeps the relative error of a difference at 2^-52. */
KL_INLINE vf64 kl_fma_exact(vf64 a, vf64 b, vf64 c)
{
#if KL_HAS_FMA
    return KL_FMA_F64(a, b, c);
#else
    vf64 ta = a * 134217729.0, tb = b * 134217729.0;
    vf64 ah = ta - (ta - a), bh = tb - (tb - b);
    vf64 al = a - ah, bl = b - bh, high = a * b;
    vf64 low = ((ah * bh - high) + ah * bl + al * bh) + al * bl;
    return (high + c) + low;
#endif
}

/* ---- lane groups: KL_LANES doubles as KL_NV vectors ---- */

typedef struct { vf64 v[KL_NV]; } kl_lanes;

KL_INLINE kl_lanes kl_lanes_zero(void)
{
    kl_lanes r;
    KL_UNROLL for (int j = 0; j < KL_NV; j++) r.v[j] = (vf64){0};
    return r;
}

/* The lanes t0 ... t7 folded in halves: ((t0 + t4) + (t2 + t6)) + ((t1 + t5) + (t3 + t7)). */
typedef double kl_pair_f64 __attribute__((vector_size(16)));

KL_INLINE double kl_lanes_total(const kl_lanes *x)
{
    kl_pair_f64 t[4], p;
    memcpy(t, x, sizeof t); /* the compiler keeps this in registers */
    p = (t[0] + t[2]) + (t[1] + t[3]);
    return p[0] + p[1];
}

/* A running sum over blocks: high + low is the exact sum of the blocks but for errors of size
 * 2^-106 (TwoSum: Knuth, TAOCP 2, 4.2.2). */
typedef struct { kl_lanes high, low; } kl_sum;

KL_INLINE kl_sum kl_sum_zero(void) { return (kl_sum){kl_lanes_zero(), kl_lanes_zero()}; }

KL_INLINE void kl_sum_add(kl_sum *s, const kl_lanes *block)
{
    KL_UNROLL for (int j = 0; j < KL_NV; j++) {
        vf64 a = s->high.v[j], b = block->v[j], t = a + b, z = t - a;
        s->low.v[j] += (a - (t - z)) + (b - z);
        s->high.v[j] = t;
    }
}

KL_INLINE double kl_sum_total(const kl_sum *s)
{
    return kl_lanes_total(&s->high) + kl_lanes_total(&s->low);
}

#ifndef KL_WIDENED_F32
typedef float kl_half_vf32 __attribute__((vector_size(KL_VECTOR_BYTES / 2), aligned(4), may_alias));
#define KL_WIDENED_F32(x) __builtin_convertvector(*(const kl_half_vf32 *)(x), vf64)
#endif

/* Numbers of a row as they lie: float64, or where `single` float32. */
KL_INLINE vf64 kl_number_at(const void *x, int64_t k, int single)
{
    return single ? KL_WIDENED_F32((const float *)x + k) : kl_load_f64((const double *)x + k);
}

KL_INLINE double kl_scalar_at(const void *x, int64_t k, int single)
{
    return single ? (double)((const float *)x)[k] : ((const double *)x)[k];
}

/* The last, incomplete group of such a row as doubles, padded with `fill`, a float. */
KL_INLINE const double *kl_wide_tail(const void *x, int64_t done, int64_t K, int single, double fill, double *buffer)
{
#ifdef KL_PART_F64
    KL_UNROLL for (int64_t j = 0; j < KL_LANES; j += KL_W64)
        kl_store_f64(buffer + j, single ? KL_PART_F32((const float *)x + done + j, K - done - j, (float)fill)
                                        : KL_PART_F64((const double *)x + done + j, K - done - j, fill));
#else
    for (int j = 0; j < KL_LANES; j++) buffer[j] = done + j >= K ? fill : kl_scalar_at(x, done + j, single);
#endif
    return buffer;
}

KL_INLINE const double *kl_tail(const double *x, int64_t done, int64_t K, double fill, double *buffer)
{
    return kl_wide_tail(x, done, K, 0, fill, buffer);
}

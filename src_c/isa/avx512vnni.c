/* AVX-512 with VNNI: products of bytes, at four times the rate of float32. Everything else as without. */
#define KL_ISA_BIT 16u
/* sums + columns . row: columns unsigned, four signed bytes of the row against each four of the columns */
#define KL_DOT_BYTES(sums, columns, row) \
    ((vi32)_mm512_dpbusd_epi32((__m512i)(sums), (__m512i)(columns), _mm512_set1_epi32(row)))
/* the last byte of each of eight 64-bit lanes */
#define KL_LOW_BYTES(x) ((uint64_t)_mm_cvtsi128_si64(_mm512_cvtepi64_epi8((__m512i)(x))))
#include "avx512.c"

const kl_kernels kl_kernels_avx512vnni = KL_TABLE("avx512vnni");

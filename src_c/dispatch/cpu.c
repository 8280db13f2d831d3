/* What the processor offers *and* the operating system saves (XCR0): both are needed to use a
 * register set. Bits: Intel SDM volume 2A, CPUID; volume 1, 13.2 and 14.3. */
#include "cpu.h"

int kl_cpu_has_baseline(void) { return 1; }

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdint.h>

static uint64_t saved_by_system(void) /* XCR0, or 0 where the system does not use XSAVE */
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & 1u << 27)) return 0;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return (uint64_t)d << 32 | a;
}

int kl_cpu_has_avx2(void)
{
    const unsigned fma = 1u << 12, avx = 1u << 28, avx2 = 1u << 5;
    const uint64_t xmm_ymm = 0x6;
    unsigned a, b, c, d;
    if ((saved_by_system() & xmm_ymm) != xmm_ymm) return 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & (fma | avx)) != (fma | avx)) return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & avx2);
}

int kl_cpu_has_avx512(void)
{
    const unsigned needed = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F, DQ, BW, VL */
    const uint64_t zmm = 0xe6; /* xmm, ymm, opmask, both halves of zmm */
    unsigned a, b, c, d;
    if (!kl_cpu_has_avx2() || (saved_by_system() & zmm) != zmm) return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & needed) == needed;
}

int kl_cpu_has_avx512vnni(void)
{
    unsigned a, b, c, d;
    return kl_cpu_has_avx512() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & 1u << 11);
}
#elif defined(__aarch64__)
int kl_cpu_has_neon(void) { return 1; } /* part of the architecture */
#endif

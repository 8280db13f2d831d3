/* The implementations, best first, and whether this machine can run each. */
#include "cpu.h"

#include "../klfast.h"

extern const kl_kernels kl_kernels_baseline;
#if defined(__x86_64__)
extern const kl_kernels kl_kernels_avx2, kl_kernels_avx512, kl_kernels_avx512vnni;
#elif defined(__aarch64__)
extern const kl_kernels kl_kernels_neon;
#endif

static const struct {
    const kl_kernels *kernels;
    int (*supported)(void);
} implementations[] = {
#if defined(__x86_64__)
    {&kl_kernels_avx512vnni, kl_cpu_has_avx512vnni},
    {&kl_kernels_avx512, kl_cpu_has_avx512},
    {&kl_kernels_avx2, kl_cpu_has_avx2},
#elif defined(__aarch64__)
    {&kl_kernels_neon, kl_cpu_has_neon},
#endif
    {&kl_kernels_baseline, kl_cpu_has_baseline},
};

int kl_isa_count(void) { return (int)(sizeof implementations / sizeof *implementations); }
const kl_kernels *kl_isa_at(int position) { return implementations[position].kernels; }
int kl_isa_supported(int position) { return implementations[position].supported(); }

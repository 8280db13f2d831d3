#ifndef KLFAST_CPU_H
#define KLFAST_CPU_H
int kl_cpu_has_baseline(void);
int kl_cpu_has_avx2(void);
int kl_cpu_has_avx512(void);
int kl_cpu_has_avx512vnni(void);
int kl_cpu_has_neon(void);
#endif

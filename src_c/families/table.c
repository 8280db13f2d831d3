/* The families by number and by name. */
#include <string.h>

#include "families.h"

static const kl_family *const TABLE[] = {
    &kl_normal, &kl_multivariate_normal, &kl_poisson, &kl_bernoulli, &kl_bernoulli_logits, &kl_exponential, &kl_gamma,
    &kl_beta, &kl_dirichlet, &kl_log_normal, &kl_half_normal, &kl_rayleigh, &kl_binomial, &kl_geometric,
    &kl_negative_binomial, &kl_inverse_gamma, &kl_chi2, &kl_inverse_gaussian, &kl_pareto, &kl_weibull, &kl_laplace,
    &kl_von_mises, &kl_von_mises_fisher, &kl_wishart, &kl_uniform, &kl_gumbel, &kl_cauchy,
};

int kl_family_count(void) { return (int)(sizeof TABLE / sizeof *TABLE); }

const kl_family *kl_family_at(int number)
{
    return number >= 0 && number < kl_family_count() ? TABLE[number] : 0;
}

const kl_family *kl_family_named(const char *name)
{
    for (int i = 0; i < kl_family_count(); i++)
        if (!strcmp(TABLE[i]->name, name)) return TABLE[i];
    return 0;
}

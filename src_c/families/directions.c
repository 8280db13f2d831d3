/* Directions: VonMises on the circle (loc, concentration), VonMisesFisher on the sphere in R^d (loc[d], concentration).
 * T = x, natural kappa mu, mean A(kappa) mu. With g = log I_nu(kappa) - nu log kappa, nu = d/2 - 1, and A = g'
 * (bessel_terms.h),
 *     KL = B_g(kappa_q, kappa_p) + kappa_q A(kappa_p) (1 - cos of the angle).
 *
 * A direction is loc divided by its norm. Features, with t and r the parts of mu - mu_c across and along mu_c:
 *     mean (A(kappa) t, A(kappa) r + A(kappa) - A(kappa_c)),   natural (kappa t, kappa r + kappa - kappa_c).
 */
#include "bessel_terms.h"
#include "gamma_terms.h"
#include "scalar.h"

/* KL from the versine, 1 - cos. */
static double direct_of(double kappa_p, double kappa_q, double versine, double d)
{
    const double part = bregman_of(kappa_q - kappa_p, kappa_q, kappa_p, d);
    return versine > 0 && kappa_q > 0 ? part + kappa_q * moments_of(kappa_p, d).length * versine : part;
}

double kl_mean_length(double concentration, double d, double *slope)
{
    const moments m = moments_of(concentration, d);
    *slope = m.slope;
    return m.length;
}

/* Chernoff's C, s KL(r||p) + t KL(r||q), from the versine v of the angle between p and q: with w = s kappa_p +
 * t kappa_q, kappa_r^2 = w^2 - 2 s t kappa_p kappa_q v, and r has the direction of s kappa_p mu_p + t kappa_q mu_q.
 * Squares are taken in a unit near the larger kappa. */
static double part_of_r(double kappa, double delta, double kappa_r, double sine, double cosine, double d)
{
    const double versine = cosine > 0 ? sine * sine / (1 + cosine) : 1 - cosine;
    const double length = kappa > 0 && versine > 0 ? moments_of(kappa_r, d).length : 0;
    return bregman_of(delta, kappa, kappa_r, d) + kappa * length * versine;
}

/* Beyond order 1, -t KL(p||q) + KL(p||r): the same r, where w may be below 0. */
static double beyond_of(double p, double q, double unit, double v, double s, double t, double d)
{
    const double a = p / unit, b = q / unit, w = kl_beyond(a, b, t).high, gained = -2 * (s * a) * (t * b) * v;
    const double r = sqrt(w * w + gained), along_p = w - t * b * v, across2 = (t * b) * (t * b) * v * (2 - v);
    const double missed = along_p > 0 ? across2 / (r + along_p) : r - along_p; /* kappa_r (1 - cos), from p */
    const double delta = w > 0 ? gained / (w + r) - t * (a - b) : r - a;
    const double turn = p > 0 ? missed * unit * moments_of(p, d).length : 0;
    return kl_or_infinite(-t * direct_of(p, q, v, d) + (bregman_of(delta * unit, r * unit, p, d) + turn));
}

static double chernoff_of(double p, double q, double v, double s, double t, double d)
{
    int exponent;
    frexp(fmax(p, q), &exponent);
    const double unit = ldexp(0.5, exponent), a = p / unit, b = q / unit;
    if (s > 1) return beyond_of(p, q, unit, v, s, t, d);
    const double w = s * a + t * b, lost = 2 * (s * a) * (t * b) * v, r = sqrt(fmax(w * w - lost, 0));
    const double drop = w > 0 ? lost / (w + r) : 0, sine = r > 0 ? sqrt(v * fmax(2 - v, 0)) / r : 0;
    const double along_p = r > 0 ? (w - t * b * v) / r : 0, along_q = r > 0 ? (w - s * a * v) / r : 0;
    return s * part_of_r(p, unit * (t * (a - b) + drop), unit * r, t * b * sine, along_p, d) +
           t * part_of_r(q, unit * (s * (b - a) + drop), unit * r, s * a * sine, along_q, d);
}

/* Scales of the features, across and along the centre, and its A. */
typedef struct { double across, along, length; } scales;

static scales scales_at(double kappa, double d)
{
    const moments m = moments_of(kappa, d);
    return (scales){sqrt(kappa > 0 ? m.length / kappa : 1 / d), sqrt(m.slope), m.length};
}

/* What compare and the moments give is off by 11 u at most (measured), a pair of features by 20 u: this times this is
 * more than those over 16 u, which spreads and magnitudes stand for. */
#define EXCESS 1.25

/* The feature along the centre, weight cos - center, and its magnitude, before scaling; gap: weight - center. Near the
 * centre from what is lost of the weight; far from a centre of little weight, as of directions all around, that would
 * be a sum of large parts. */
static double along(double weight, double versine, double gap, double center, double *magnitude)
{
    const double left = weight * (1 - versine), near = weight * versine + fabs(gap);
    const double far = fabs(left) + center + 0.5 * weight; /* the versine's own error, 8 u at most */
    *magnitude = fmin(near, far);
    return near <= far ? gap - weight * versine : left - center;
}

static double signed_gap(double kappa, double first, double d)
{
    return compare(kappa - first, kappa, first, d).gap * (kappa < first ? -1 : 1);
}

/* The concentration whose A is the length of the mean of the rows' mean parameters. All relative to the first row:
 * `gap` is the mean of A(kappa) - A(kappa_first), `lost` of A(kappa)(1 - cos), moved2 the squared length of the mean
 * of A(kappa)(mu - mu_first). Newton's method from the approximation of Banerjee et al. (JMLR 6, 2005). */
static double center_concentration(double first, double d, double gap, double lost, double moved2)
{
    const double mean = moments_of(first, d).length + gap;
    const double length = sqrt(fmax(mean * mean + moved2 - 2 * mean * lost, 0));
    const double target = gap + (length + mean > 0 ? (moved2 - 2 * mean * lost) / (length + mean) : 0);
    const double guess = length * (d - length * length) / (1 - length * length);
    double kappa = fabs(target) < 1e-3 * (1 - mean) || !(guess > 0x1p-30 && guess < 0x1p45) ? first : guess;
    for (int i = 0; i < 20; i++) {
        const double reached = signed_gap(kappa, first, d);
        const double next = kappa - (reached - target) / moments_of(kappa, d).slope;
        const double bounded = fmin(fmax(next, 0.25 * kappa), 4 * kappa), step = fabs(bounded - kappa);
        kappa = bounded;
        if (step <= 1e-3 * fabs(kappa - first) || step <= 1e-15 * kappa) break;
    }
    return kappa > 0x1p-30 && kappa < 0x1p100 ? kappa : first > 0 ? first : 1;
}

static int32_t check_concentration(double kappa)
{
    const int32_t status = kl_check_finite(kappa);
    return status ? status : kappa >= 0 ? KL_PARAMETER_OK : KL_PARAMETER_NEGATIVE;
}

/* ---- VonMises -------------------------------------------------------------------------------------------------- */

static int32_t von_mises_check1(const double *t, int *where)
{
    const int32_t status = kl_check_finite(t[0]);
    *where = status ? 0 : 1;
    return status ? status : check_concentration(t[1]);
}

/* sin(x/2) and sin x of x = a - b, with the rounding of the difference put back (it counts near multiples of 2 pi). */
typedef struct { double half, whole; } sines;

static sines sines_of(double a, double b)
{
    const double x = a - b, low = kl_sum_error(a, -b, x);
    return (sines){sin(0.5 * x) + cos(0.5 * x) * (0.5 * low), sin(x) + cos(x) * low};
}

static double von_mises_direct1(const double *p, const double *q)
{
    const double s = sines_of(p[0], q[0]).half;
    return direct_of(p[1], q[1], 2 * s * s, 2);
}

static double von_mises_chernoff1(const double *p, const double *q, double s, double t)
{
    const double half = sines_of(p[0], q[0]).half;
    return chernoff_of(p[1], q[1], 2 * half * half, s, t, 2);
}

/* log(2 pi) - KL(p || uniform). */
static double von_mises_entropy1(const double *t) { return log(2 * KL_PI_F64) - direct_of(t[1], 0, 0, 2); }

static void von_mises_sum1(const double *t, const double *first, double *sums)
{
    const sines s = sines_of(t[0], first[0]);
    const double length = moments_of(t[1], 2).length;
    sums[0] += signed_gap(t[1], first[1], 2);
    sums[1] += length * 2 * s.half * s.half;
    sums[2] += length * s.whole;
}

static void von_mises_center1(const double *sums, double n, const double *first, double *center)
{
    const double gap = sums[0] / n, lost = sums[1] / n, across = sums[2] / n;
    const double along = moments_of(first[1], 2).length + gap - lost;
    center[0] = first[0] + (across != 0 ? atan2(across, along) : 0);
    center[1] = center_concentration(first[1], 2, gap, lost, lost * lost + across * across);
}

static kl_feature_row von_mises_mean1(const double *t, const double *c, double *x)
{
    const sines s = sines_of(t[0], c[0]);
    const scales S = scales_at(c[1], 2);
    const concentration k = compare(c[1] - t[1], c[1], t[1], 2);
    const double length = moments_of(t[1], 2).length, versine = 2 * s.half * s.half;
    double magnitude;
    x[0] = length * s.whole / S.across;
    x[1] = along(length, versine, t[1] < c[1] ? -k.gap : k.gap, S.length, &magnitude) / S.along;
    magnitude /= S.along;
    const double offset = k.bregman + c[1] * length * versine;
    return (kl_feature_row){offset, EXCESS * offset, EXCESS * EXCESS * (x[0] * x[0] + magnitude * magnitude)};
}

static kl_feature_row von_mises_natural1(const double *t, const double *c, double *y)
{
    const sines s = sines_of(t[0], c[0]);
    const scales S = scales_at(c[1], 2);
    const double versine = 2 * s.half * s.half;
    const double offset = bregman_of(t[1] - c[1], t[1], c[1], 2) + t[1] * S.length * versine;
    double magnitude;
    y[0] = t[1] * s.whole * S.across;
    y[1] = along(t[1], versine, t[1] - c[1], c[1], &magnitude) * S.along;
    magnitude *= S.along;
    return (kl_feature_row){offset, EXCESS * offset, EXCESS * EXCESS * (y[0] * y[0] + magnitude * magnitude)};
}

KL_SCALAR_FAMILY(von_mises, 2, 2, 3)

/* ---- VonMisesFisher -------------------------------------------------------------------------------------------- */

static int32_t fisher_check(const double *row, int64_t K, int64_t *where)
{
    double norm2 = 0;
    for (int64_t i = 0; i < K - 1; i++) {
        const int32_t status = kl_check_finite(row[i]);
        *where = i;
        if (status) return status;
        norm2 += row[i] * row[i];
    }
    *where = 0;
    if (!(fabs(norm2 - 1) <= 1e-5)) return KL_PARAMETER_NOT_UNIT;
    *where = K - 1;
    return check_concentration(row[K - 1]);
}

/* mu against nu, as directions: 1 - cos, the factor of nu in mu - nu = across + factor nu, and both norms. */
typedef struct { double versine, factor, mu_norm, nu_norm; } angle;

/* Sums over bins in lanes, for shorter chains of roundings. */
#define LANES 8
typedef struct { double lane[LANES]; } lanes;

static double lanes_total(lanes s)
{
    return ((s.lane[0] + s.lane[4]) + (s.lane[2] + s.lane[6])) + ((s.lane[1] + s.lane[5]) + (s.lane[3] + s.lane[7]));
}

typedef struct { lanes dot, mu2, nu2, gap; } products;

static inline void products_add(products *s, const double *mu, const double *nu, int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        s->dot.lane[j] += mu[j] * nu[j];
        s->mu2.lane[j] += mu[j] * mu[j];
        s->nu2.lane[j] += nu[j] * nu[j];
        s->gap.lane[j] += (mu[j] - nu[j]) * nu[j];
    }
}

static inline void across_add(lanes *across2, const double *mu, const double *nu, double factor, int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        const double across = (mu[j] - nu[j]) - factor * nu[j];
        across2->lane[j] += across * across;
    }
}

static angle angle_of(const double *mu, const double *nu, int64_t d)
{
    const int64_t whole = d - d % LANES;
    products s = {{{0}}, {{0}}, {{0}}, {{0}}};
    lanes across2 = {{0}};
    for (int64_t i = 0; i < whole; i += LANES) products_add(&s, mu + i, nu + i, LANES);
    products_add(&s, mu + whole, nu + whole, d - whole);
    const double mu2 = lanes_total(s.mu2), nu2 = lanes_total(s.nu2);
    const double factor = lanes_total(s.gap) / nu2, cosine = lanes_total(s.dot) / sqrt(mu2 * nu2);
    for (int64_t i = 0; i < whole; i += LANES) across_add(&across2, mu + i, nu + i, factor, LANES);
    across_add(&across2, mu + whole, nu + whole, factor, d - whole);
    const double versine = cosine > 0.5 ? lanes_total(across2) / mu2 / (1 + cosine) : 1 - cosine;
    return (angle){versine, factor, sqrt(mu2), sqrt(nu2)};
}

/* One distribution: both uniform, or of one concentration and of parallel vectors (whose norms are 1 to 1e-6 only). */
static int fisher_same(const double *p, const double *q, int64_t K, double versine)
{
    int64_t top = 0;
    if (p[K - 1] != q[K - 1] || (p[K - 1] > 0 && versine > 0x1p-80)) return 0;
    for (int64_t i = 1; i < K - 1; i++) top = fabs(p[i]) > fabs(p[top]) ? i : top;
    for (int64_t i = 0; i < K - 1 && p[K - 1] > 0; i++)
        if (kl_determinant(p[i], q[top], p[top], q[i]) != 0) return 0;
    return 1;
}

static double fisher_direct(const double *p, const double *q, int64_t K, kl_work work)
{
    const double versine = angle_of(p, q, K - 1).versine;
    KL_UNUSED(work);
    if (fisher_same(p, q, K, versine)) return 0.0;
    return kl_settled(direct_of(p[K - 1], q[K - 1], versine, (double)(K - 1)), p, q, K);
}

static double fisher_chernoff(const double *p, const double *q, double s, double t, int64_t K, kl_work work)
{
    const double versine = angle_of(p, q, K - 1).versine;
    KL_UNUSED(work);
    if (fisher_same(p, q, K, versine)) return 0.0;
    return kl_settled(chernoff_of(p[K - 1], q[K - 1], versine, s, t, (double)(K - 1)), p, q, K);
}

/* log of the sphere's area - KL(p || uniform). */
static double fisher_entropy(const double *row, int64_t K, kl_work work)
{
    const double d = (double)(K - 1);
    KL_UNUSED(work);
    return KL_LN2_F64 + 0.5 * d * log(KL_PI_F64) - kl_log_gamma(0.5 * d) - direct_of(row[K - 1], 0, 0, d);
}

static int64_t fisher_width(int64_t K) { return K; }
static int64_t fisher_sums(int64_t K) { return K + 1; }
static int64_t fisher_scratch(int64_t K) { KL_UNUSED(K); return 0; }

static void fisher_accumulate(const double *row, const double *first, int64_t K, double *sums)
{
    const double d = (double)(K - 1), length = moments_of(row[K - 1], d).length;
    for (int64_t i = 0; i < K - 1; i++) sums[i] += length * (row[i] - first[i]);
    sums[K - 1] += signed_gap(row[K - 1], first[K - 1], d);
    sums[K] += length * angle_of(row, first, K - 1).versine;
}

static void fisher_finish(double *sums, double n, const double *first, int64_t K, double *center)
{
    const double d = (double)(K - 1), gap = sums[K - 1] / n, mean = moments_of(first[K - 1], d).length + gap;
    double norm2 = 0, moved2 = 0;
    for (int64_t i = 0; i < K - 1; i++) {
        center[i] = mean * first[i] + sums[i] / n;
        norm2 += center[i] * center[i];
        moved2 += sums[i] / n * (sums[i] / n);
    }
    for (int64_t i = 0; i < K - 1; i++) center[i] = norm2 > 0x1p-100 ? center[i] / sqrt(norm2) : first[i];
    center[K - 1] = center_concentration(first[K - 1], d, gap, sums[K] / n, moved2);
}

/* Features across the centre, times weight; the sum of the squares of their magnitudes. As along, two ways. */
static double across_features(const double *row, const double *c, int64_t d, angle a, double weight, double *out)
{
    double norm2 = 0;
    const int far = a.factor < -0.5;
    for (int64_t i = 0; i < d; i++) {
        const double whole = far ? row[i] : row[i] - c[i], back = (far ? 1 + a.factor : a.factor) * c[i];
        const double magnitude = weight * (fabs(whole) + fabs(back) + (far ? 0.5 * fabs(c[i]) : 0)) / a.mu_norm;
        out[i] = weight * (whole - back) / a.mu_norm;
        norm2 += magnitude * magnitude;
    }
    return norm2;
}

static kl_feature_row fisher_mean(const double *row, const double *c, int64_t K, double *x, kl_work work)
{
    const double d = (double)(K - 1), kappa = row[K - 1], center = c[K - 1];
    const angle a = angle_of(row, c, K - 1);
    const scales S = scales_at(center, d);
    const concentration k = compare(center - kappa, center, kappa, d);
    const double length = moments_of(kappa, d).length;
    double magnitude, norm2 = across_features(row, c, K - 1, a, length / S.across, x);
    KL_UNUSED(work);
    x[K - 1] = along(length, a.versine, kappa < center ? -k.gap : k.gap, S.length, &magnitude) / S.along;
    norm2 += magnitude / S.along * (magnitude / S.along);
    const double offset = k.bregman + center * length * a.versine;
    return kl_settled_features((kl_feature_row){offset, EXCESS * offset, EXCESS * EXCESS * norm2}, x, K);
}

static kl_feature_row fisher_natural(const double *row, const double *c, int64_t K, double *y, kl_work work)
{
    const double d = (double)(K - 1), kappa = row[K - 1], center = c[K - 1];
    const angle a = angle_of(row, c, K - 1);
    const scales S = scales_at(center, d);
    const double offset = bregman_of(kappa - center, kappa, center, d) + kappa * S.length * a.versine;
    double magnitude, norm2 = across_features(row, c, K - 1, a, kappa * S.across, y);
    KL_UNUSED(work);
    y[K - 1] = along(kappa, a.versine, kappa - center, center, &magnitude) * S.along;
    norm2 += magnitude * S.along * (magnitude * S.along);
    return kl_settled_features((kl_feature_row){offset, EXCESS * offset, EXCESS * EXCESS * norm2}, y, K);
}

const kl_family kl_von_mises_fisher = {"von_mises_fisher", fisher_check, fisher_direct, fisher_entropy, fisher_width,
                                       fisher_scratch, fisher_sums, fisher_accumulate, fisher_finish, fisher_mean,
                                       fisher_natural, fisher_chernoff, 0, KL_TERM_NONE, -1};

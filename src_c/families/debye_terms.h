/* log I_nu by Debye's expansion, uniform in order and argument: with R = sqrt(nu^2 + kappa^2), up to a constant,
 *     g(kappa) = log I_nu - nu log kappa = R - nu log(nu + R) - log(R)/2 + T,    T = sum_k R^-k P_k((nu/R)^2)
 * (Olver, Asymptotics and Special Functions, ch. 10.7; P_k from the logarithm of the sum of his U_k(p)/nu^k). Of x
 * against y = x - delta, with s and t their R, X = nu + s, Y = nu + t and psi(r) = r - 1 - log r, the Bregman divergence
 * is, but for that of T,
 *     nu psi(X/Y) + psi(s/t)/2 + nu^2 delta^2/(s t + nu^2 + x y) (1/Y - 1/(2 t^2)):
 * nothing cancels. T is below 2% of the whole (1/(2 R), where nu is 0) and added as it comes.
 */
#ifndef KL_DEBYE_TERMS_H
#define KL_DEBYE_TERMS_H

#include "terms.h"

#define DEBYE_FROM 32 /* the least R */
#define DEBYE_TERMS 18

/* The coefficients of P_1, P_2, ... */
static const double DEBYE[DEBYE_TERMS][DEBYE_TERMS + 1] = {
    {0.125, -0.20833333333333334},
    {0.0625, -0.375, 0.3125},
    {0.06510416666666667, -0.8296875, 1.7265625, -0.9592013888888888},
    {0.1015625, -2.21875, 8.296875, -10.59375, 4.4140625},
    {0.2095703125, -6.982282366071429, 40.542751736111114, -87.693359375, 80.8837890625, -26.961263020833332},
    {0.5364583333333334, -25.3125, 209.625, -673.625, 1021.640625, -737.8125, 204.94791666666666},
    {1.6380658830915178, -103.97592163085938, 1160.8294372558594, -5140.211273193359, 11304.659503173829,
     -13184.767364501953, 7824.899444580078, -1863.07129632859},
    {5.809814453125, -477.615234375, 6904.2763671875, -40090.447265625, 119071.95263671875, -198321.806640625,
     187801.9013671875, -94603.037109375, 19708.966064453125},
    {23.475127749972874, -2427.2885336442428, 44069.78581237793, -323875.5657704671, 1240124.8821487427,
     -2752869.211418152, 3683609.1391855874, -2935198.3014678955, 1284393.7849998474, -237850.70092589766},
    {106.467822265625, -13526.99560546875, 301187.0236816406, -2727462.591796875, 13026405.797363281,
     -36852414.786914065, 65112147.795410156, -72748886.00585938, 50027742.52075195, -19350359.06982422,
     3225059.844970703},
    {535.640519510616, -82046.56579866775, 2197624.750671816, -24011994.284158945, 139535179.1724906,
     -487422412.2709402, 1088470361.2907014, -1594676024.676859, 1528592829.647338, -924445055.3424871,
     320384038.82623315, -48543036.1857929},
    {2960.739786783854, -538164.052734375, 17067704.537109375, -221216118.06429037, 1533944655.227417,
     -6461280179.630859, 17683879971.17871, -32540336002.749023, 40681628863.23303, -34134822577.796875,
     18421426618.901367, -5782944462.414551, 803186730.8909098},
    {17837.279688947478, -3796291.86355564, 140670288.44702286, -2132565033.6329174, 17370310085.639664,
     -86609634147.52127, 283920568841.2898, -636666163048.9065, 994814458001.1244, -1084020120561.0471,
     808600469860.3251, -393948450551.5325, 113024563355.74345, -14490328635.351725},
    {116339.24666050503, -28661512.79333496, 1226861211.3799438, -21498506623.404053, 203041114120.92133,
     -1180642595897.981, 4553603191973.523, -12166897295124.809, 23063249159261.42, -31286182108111.44,
     30201361514325.797, -20274439672064.523, 9002140801232.809, -2378033097390.976, 283099178260.83044},
    {816737.8421910767, -230617077.2772755, 11292487199.24038, -226421038138.7713, 2452510639437.657,
     -16427795456250.053, 73482349862697.81, -229900443342745.06, 517110567289449.06, -847882684350369.8,
     1015628464472705.2, -879774777394467.8, 536843489094318.75, -218953691660166.5, 53592040346253.26,
     -5954671149583.695},
    {6140798.86346674, -1970183518.4214706, 109420856853.88167, -2488481617144.3955, 30625491384920.305,
     -233879392194313.8, 1199016842659803.2, -4331517981214049.5, 1.136435002093523e+16, -2.203550059017656e+16,
     3.180725498076936e+16, -3.409625789188882e+16, 2.6781207568446344e+16, -1.4977681044237838e+16,
     5648587680755219.0, -1287990318626554.8, 134165658190266.12},
    {49232732.339998595, -17811187499.29892, 1113578506430.224, -28505742882553.977, 395380869751689.75,
     -3412130210780975.0, 1.9850628828281828e+16, -8.185693771392421e+16, 2.4709691126445e+17,
     -5.5709671500954285e+17, 9.482646562647506e+17, -1.2218185125202076e+18, 1.1848704719379756e+18,
     -8.511753641349356e+17, 4.393273522612471e+17, -1.5407774521557984e+17, 3.2883262577110732e+16,
     -3223849272265758.0},
    {419272864.964833, -169882708078.0767, 11877369339122.227, -339914790007213.0, 5276021779692677.0,
     -5.106154111350344e+16, 3.342538851267215e+17, -1.5582577126295084e+18, 5.351486770466219e+18,
     -1.3840760277650147e+19, 2.7320650683824636e+19, -4.141169904803009e+19, 4.816579589809225e+19,
     -4.263488110114925e+19, 2.8214805099480617e+19, -1.351992632747366e+19, 4.431135921303972e+18,
     -8.887849697503471e+17, 8.229490460651363e+16}
};

/* Terms that count: what is left out is below 1.1e-16 of g''. */
static inline int debye_terms(double R) { return R < 64 ? DEBYE_TERMS : R < 128 ? 12 : R < 400 ? 9 : R < 10000 ? 7 : 4; }

/* A function of kappa between y and x: f(x), f(y), f(x) - f(y), and that less (x - y) f'(y). Of products and sums these
 * follow from their own, without a difference. In the limit x = y, over powers of x - y, f' and f''/2. */
typedef struct { double there, here, step, rest; } span;

static inline span span_times(span u, span v)
{
    return (span){u.there * v.there, u.here * v.here, u.there * v.step + u.step * v.here,
                  u.here * v.rest + (u.step * v.step + u.rest * v.here)};
}

static inline span span_plus(span u, span v)
{
    return (span){u.there + v.there, u.here + v.here, u.step + v.step, u.rest + v.rest};
}

/* T of 1/R and w = (nu/R)^2. */
static inline span debye_rest(span inverse, span w)
{
    span sum = {0, 0, 0, 0};
    for (int k = debye_terms(1 / fmax(inverse.here, inverse.there)); k >= 1; k--) {
        const double *c = DEBYE[k - 1];
        span p = {c[k], c[k], 0, 0};
        for (int i = k - 1; i >= 0; i--) p = span_plus(span_times(w, p), (span){c[i], c[i], 0, 0});
        sum = span_times(inverse, span_plus(sum, p));
    }
    return sum;
}

/* x, y, delta = x - y, nu and s in units of t, which is R at y. */
typedef struct { double x, y, delta, nu, s, t; } debye_pair;

static inline debye_pair debye_between(double delta, double x, double y, double d)
{
    const double nu = 0.5 * d - 1, t = hypot(nu, y);
    return (debye_pair){x / t, y / t, delta / t, nu / t, hypot(nu, x) / t, t};
}

/* What T adds to the divergence. */
static inline double debye_small(debye_pair z)
{
    const double both = z.x + z.y, nu2 = z.nu * z.nu, moved = z.delta / z.s, tall = both / (z.s + 1);
    const span inverse = {1 / z.s / z.t, 1 / z.t, -moved * tall / z.t,
                          moved * (z.delta / (z.s + 1)) * (z.y * tall * (z.s + 2) - 1) / z.t};
    const span w = {nu2 / z.s / z.s, nu2, -nu2 * moved * (both / z.s), nu2 * moved * moved * (2 * z.y * both - 1)};
    return debye_rest(inverse, w).rest;
}

/* psi((1 + t)/1), or of a/b where that is the better known. t has a small relative error, which t - log(1 + t) keeps. */
static inline double debye_psi(double t, double a, double b)
{
    return !kl_is_near(t) && t > -0.75 && t < 4 ? t - log1p(t) : kl_psi(t * b, a, b);
}

static inline double debye_bregman(debye_pair z)
{
    const double nu2 = z.nu * z.nu, grown = z.delta * ((z.x + z.y) / (z.s + 1));
    const double across = z.delta * (z.delta / (z.s + nu2 + z.x * z.y)) * nu2;
    const double Y = z.nu + 1, large = z.nu * z.t * debye_psi(grown / Y, z.nu + z.s, Y) + 0.5 * debye_psi(grown, z.s, 1);
    return large + across * (z.t / Y - 0.5) + debye_small(z);
}

/* A(x) - A(y) of x = y + delta, not 0. What T adds times delta are its divergences of x against y and of y against x. */
static inline double debye_gap(double delta, double x, double y, double d)
{
    const debye_pair z = debye_between(delta, x, y, d);
    const double nu2 = z.nu * z.nu, turned = nu2 * ((z.x + z.y) / (z.x + z.y * z.s));
    const double first = z.delta / (z.nu + z.s) * (z.nu + turned) / (z.nu + 1);
    const double second = 0.5 * z.delta / z.s * (z.x / z.s * z.y - nu2 / z.s) / z.t;
    return first + second + (debye_small(z) + debye_small(debye_between(-delta, y, x, d))) / delta;
}

/* A and A' at y. */
typedef struct { double length, slope; } moments;

static inline moments debye_moments(double kappa, double d)
{
    const debye_pair z = debye_between(0, kappa, kappa, d);
    const double nu2 = z.nu * z.nu, y2 = z.y * z.y;
    const span inverse = {1 / z.t, 1 / z.t, -z.y / z.t, 0.5 * (3 * y2 - 1) / z.t};
    const span T = debye_rest(inverse, (span){nu2, nu2, -2 * z.y * nu2, (4 * y2 - 1) * nu2});
    const double slope = z.nu / (z.nu + 1) + (0.5 * (y2 - nu2) + 2 * T.rest) / z.t;
    return (moments){z.y / (z.nu + 1) - (0.5 * z.y - T.step) / z.t, slope / z.t};
}

#endif

/* Tables for log(f), f > 0, in cells of an eighth of a binade: f = b (1 + t), b = 1, 9/8, ..., 15/8 times a power of
 * two, which is f's bits, rounded: |t| <= 0.08 is left for short polynomials. Where b is 1, log(b) is 0: what vanishes
 * at f = 1 keeps its relative accuracy. Next to that cell, (1 + z) log(1 + z) - z is only 1% of log(b), and half a unit
 * of that many units. So the cells' ends are where half a unit of log(15/16), below, and of log(9/8) with the
 * polynomial's error, above, come to the same: cells begin 23/32 of their width below b in float64, 19/32 in float32,
 * whose roundings are other ones. The cell around 1 is [1 - 23/512, 1 + 9/256], or [1 - 19/512, 1 + 13/256].
 */

/* The bits of 1/b and b together: less those of b, with any exponent, they are 1/b. Then, for b from 3/4 to 11/8,
 * log(b) - n ln2/8, where n counts the cells from 1. */
enum { KL_INVERSE, KL_LOG_REST };

static const double KL_CELLS_F64[2][8] __attribute__((aligned(64))) = {
    {0x1.0000000000000p+1023, 0x1.e71c71c71c71cp+1022, 0x1.d99999999999ap+1022, 0x1.d45d1745d1746p+1022,
     0x1.d555555555555p+1022, 0x1.db13b13b13b14p+1022, 0x1.e492492492492p+1022, 0x1.f111111111111p+1022},
    {0x0.0p+0, 0x1.fe311bcc2e3dcp-6, 0x1.986d3228180cbp-5, 0x1.df6cc17059a7ap-5,
     0x1.e27076e2af2e4p-5, 0x1.ac5dd07b1f40cp-5, 0x1.45ad1f34955cdp-5, 0x1.6a2a9256fffa2p-6}};

static const float KL_CELLS_F32[2][8] __attribute__((aligned(64))) = {
    {0x1.000000p+127f, 0x1.e71c72p+126f, 0x1.d9999ap+126f, 0x1.d45d18p+126f,
     0x1.d55556p+126f, 0x1.db13b2p+126f, 0x1.e4924ap+126f, 0x1.f11112p+126f},
    {0x0.000000p+0f, 0x1.fe311cp-6f, 0x1.986d32p-5f, 0x1.df6cc2p-5f,
     0x1.e27078p-5f, 0x1.ac5dd0p-5f, 0x1.45ad20p-5f, 0x1.6a2a92p-6f}};

/* ((1 + t) log(1 + t) - t) / t^2 in -23/288 <= t <= 9/256 and -19/288 <= t <= 13/256: relative errors 7
 * and 3 units (mpmath.chebyfit). */
static const double KL_H_F64[9] = {
    0x1.ffffffffffffep-2, -0x1.5555555555b94p-3, 0x1.5555555573130p-4, -0x1.9999997af2cd2p-5, 0x1.111110230baf7p-5,
    -0x1.8619a77531c65p-6, 0x1.248913333403fp-6, -0x1.c34f1fc13841cp-7, 0x1.b04bdafa8f36dp-7};
static const float KL_H_F32[4] = {
    0x1.fffffep-2f, -0x1.55546cp-3f, 0x1.55c19ap-4f, -0x1.a2b300p-5f};

/* (log(1 + t) - t) / t^2 there: 2 and 9 units. */
static const double KL_LOG1P_F64[10] = {
    -0x1.fffffffffffffp-2, 0x1.5555555555488p-2, -0x1.0000000004484p-2, 0x1.9999999ba6a2dp-3, -0x1.555554e2c58b7p-3,
    0x1.249241031e4f0p-3, -0x1.00021a5179eecp-3, 0x1.c71153c67e8c8p-4, -0x1.9389a181883e1p-4, 0x1.cd74d6d18ddfep-4};
static const float KL_LOG1P_F32[4] = {
    -0x1.fffff2p-2f, 0x1.55530ap-2f, -0x1.0087b2p-2f, 0x1.a52e80p-3f};

/* For features.h, whose cells begin in the middle between two b: |t| <= 1/16. log(b) = n ln2/8 + rest as sums
 * of a multiple of 2^-44 and what is left of it, so that the first sum is exact; H(t) once more, for those t: a quarter
 * of a unit (mpmath.chebyfit); (log(1 + t) - t)/t^2, which is -1/2 at 0: 3 units. */
#define KL_EIGHTH_HIGH 0x1.62e42fefa4000p-4
#define KL_EIGHTH_LOW -0x1.8432a1b0e2634p-46

static const double KL_REST[2][8] __attribute__((aligned(64))) = {
    {0x0.0p+0, 0x1.fe311bcc30000p-6, 0x1.986d322818000p-5, 0x1.df6cc1705a000p-5,
     0x1.e27076e2b0000p-5, 0x1.ac5dd07b20000p-5, 0x1.45ad1f3496000p-5, 0x1.6a2a925700000p-6},
    {0x0.0p+0, -0x1.c252e3ad1da44p-46, 0x1.93b564dd44000p-50, -0x1.61d61ee442460p-47,
     -0x1.a342c2af0003cp-46, -0x1.7e4f7b07e2fcap-46, -0x1.46545d2765c4cp-46, -0x1.7532ac1258203p-52}};

static const double KL_HALVES[10] = {
    0x1.0000000000000p-1, -0x1.5555555555556p-3, 0x1.5555555552482p-4, -0x1.99999999946f5p-5, 0x1.11111141e118dp-5,
    -0x1.861861d8b6f6bp-6, 0x1.249137f8d50bep-6, -0x1.c71aa36ba47bdp-7, 0x1.6e863aee0ba58p-7, -0x1.2bf3afed3e2a1p-7};
static const double KL_LOGS[10] = {
    -0x1.0000000000000p-1, 0x1.555555555553cp-2, -0x1.fffffffffcc70p-3, 0x1.9999999a249f2p-3, -0x1.555555868f75cp-3,
    0x1.2492458de209ap-3, -0x1.fffe642711261p-4, 0x1.c72af1e53c388p-4, -0x1.9c1feec9f0ee8p-4, 0x1.6c42c6267cbffp-4};

/* The same for features that will be float32, to 0.08 and 0.02 of its units. */
static const double KL_BRIEF_HALVES[5] = {
    0x1.0000000000000p-1, -0x1.555550a82ed86p-3, 0x1.5555e69d9f603p-4, -0x1.9a4364c9570abp-5, 0x1.0ee0afc135915p-5};
static const double KL_BRIEF_LOGS[6] = {
    -0x1.0000000000000p-1, 0x1.55555539c4287p-2, -0x1.ffffc383958b8p-3, 0x1.999c4d040c66dp-3, -0x1.5669f7cac8b75p-3,
    0x1.2123e87e8611ep-3};

/* For far.h: log2(m) - P(r m + shift) in the cells [1, 9/8), ..., [15/8, 2) of m. KL_FAR_TERMS are P's coefficients from
 * the first power on; that before the leading one is 0. From the minimax polynomial of log2(1 + t), |t| <= 1/17
 * (mpmath.chebyfit), of degree 8 and 3; each number with those before it already rounded. At most 51 and 10.2 units of
 * roundoff of 1. */
enum { KL_FAR_SCALE, KL_FAR_LOG }; /* r, a */

static const double KL_FAR_CELLS_F64[2][8] __attribute__((aligned(64))) = {
    {0x1.854e1c9d15978p-1, 0x1.5c535cf856affp-1, 0x1.3b26da360549ep-1, 0x1.1fbf4ccd26385p-1,
     0x1.08ba3c6ad13e1p-1, 0x1.ea3c6fe2411d9p-2, 0x1.c86d3c079dba7p-2, 0x1.aafad50f62010p-2},
    {0x1.1ecc6c7c5ffe0p-2, 0x1.c31d46594ef21p-2, 0x1.2b7c1c9196912p-1, 0x1.6eae985601835p-1,
     0x1.ac45cd056f919p-1, 0x1.e51ee5a484e01p-1, 0x1.0cf3c89ef8834p+0, 0x1.259559bf62400p+0}};
#define KL_FAR_SHIFT_F64 -0x1.d8b7a8bfc67c9p-1
static const double KL_FAR_TERMS_F64[6] = {
    0x1.9005610f540c5p+0, -0x1.b14431cf58b71p-1, 0x1.38c3a411b6ee8p-1, -0x1.fe6929d96c05cp-2, 0x1.a59dc7945066dp-2,
    -0x1.f7cb44cc48a13p-2};

static const float KL_FAR_CELLS_F32[2][8] __attribute__((aligned(64))) = {
    {0x1.79cc4ap-1f, 0x1.5207a2p-1f, 0x1.31d624p-1f, 0x1.173df4p-1f,
     0x1.00e714p-1f, 0x1.dbbee2p-2f, 0x1.baef84p-2f, 0x1.9e5beep-2f},
    {0x1.605d3cp-1f, 0x1.b285a6p-1f, 0x1.fc7322p-1f, 0x1.1fd2d0p+0f,
     0x1.3e9e68p+0f, 0x1.5b0af6p+0f, 0x1.756f4ap+0f, 0x1.8e10dcp+0f}};
#define KL_FAR_SHIFT_F32 -0x1.2d05e6p+0f
static const float KL_FAR_TERMS_F32[1] = {0x1.6125c4p+0f};

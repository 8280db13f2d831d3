/* Tables for log(f), f > 0: the binade [17/24, 17/12) in eight cells, of equal width in the mantissa's bits.
 *
 * The cell around 1 is [1 - 1/24, 1 + 1/24], and there the middle b is 1 and log(b) 0: what vanishes at f = 1 keeps
 * its relative accuracy. In every cell f = b (1 + t) with |t| <= 0.0573, so that short polynomials in t do the rest.
 *
 * Beside the cell around 1, log(b) is 0.1 and (1 + z) log(1 + z) - z as small as 9e-4: half a unit of log(b) would be
 * 70 units of that. So the middles are the numbers, of 12,001 around each half-way point, for which log(b) and b times
 * the rounded log(b) lie closest to numbers of the format (S. Gal, 1986): within 0.5 units of the least value of
 * (1 + z) log(1 + z) - z in the cell.
 */
enum { KL_MIDDLE, KL_INVERSE, KL_LOG_MIDDLE };

static const double KL_CELLS_F64[3][8] __attribute__((aligned(64))) = {
    {0x1.7aaaaaaaac1c7p-1, 0x1.9aaaaaaaabb2cp-1, 0x1.baaaaaaaaa9f6p-1, 0x1.daaaaaaaac1bep-1,
     0x1.0000000000000p+0, 0x1.1aaaaaaaa98f7p+0, 0x1.3aaaaaaaaa865p+0, 0x1.5aaaaaaaa9740p+0},
    {0x1.5a240e6c29f28p+0, 0x1.3f2b3884fbdfap+0, 0x1.2818acb90f738p+0, 0x1.14228450893a8p+0,
     0x1.0000000000000p+0, 0x1.cfb2b78c1522cp-1, 0x1.a08ad8f2fbd96p-1, 0x1.7a17a17a18f45p-1},
    {-0x1.34e889e2ca474p-2, -0x1.c3abed76e053fp-3, -0x1.29ffe14981215p-3, -0x1.361d99645b95cp-4,
     0x0.0000000000000p+0, 0x1.95e057a2f2644p-4, 0x1.a693b73d96905p-3, 0x1.3676756bc8257p-2}};

static const float KL_CELLS_F32[3][8] __attribute__((aligned(32))) = {
    {0x1.7aa08cp-1f, 0x1.9a9f5ep-1f, 0x1.ba94dcp-1f, 0x1.da9d72p-1f,
     0x1.000000p+0f, 0x1.1ad8cep+0f, 0x1.3aa86ep+0f, 0x1.5ac19ep+0f},
    {0x1.5a2d4ep+0f, 0x1.3f3400p+0f, 0x1.282744p+0f, 0x1.142a36p+0f,
     0x1.000000p+0f, 0x1.cf6714p-1f, 0x1.a08dd0p-1f, 0x1.79fe9cp-1f},
    {-0x1.3503e8p-2f, -0x1.c3e448p-3f, -0x1.2a64c8p-3f, -0x1.368fb2p-4f,
     0x0.000000p+0f, 0x1.987cb2p-4f, 0x1.a68528p-3f, 0x1.36ba3ep-2f}};

/* ((1 + t) log(1 + t) - t) / t^2 for |t| <= 0.0573: relative errors 4 and 2 units (mpmath.chebyfit). */
static const double KL_H_F64[9] = {
    0x1.0000000000000p-1, -0x1.5555555555091p-3, 0x1.5555555554d63p-4, -0x1.999999acf8999p-5, 0x1.111111213625cp-5,
    -0x1.8617b798e5977p-6, 0x1.2491bb84f349fp-6, -0x1.c9443108c5e0ap-7, 0x1.6de296e3d5696p-7};
static const float KL_H_F32[4] = {0x1.fffffcp-2f, -0x1.555552p-3f, 0x1.55c7e8p-4f, -0x1.9a3d4ep-5f};

/* (log(1 + t) - t) / t^2 there: 2 and 8 units. */
static const double KL_LOG1P_F64[10] = {
    -0x1.0000000000000p-1, 0x1.5555555555556p-2, -0x1.fffffffff865fp-3, 0x1.9999999992952p-3, -0x1.5555559f7080dp-3,
    0x1.24924968fb67ep-3, -0x1.fffe067ab8580p-4, 0x1.c71a9f1cdfc26p-4, -0x1.9c58cffad0079p-4, 0x1.76e63e0972d8bp-4};
static const float KL_LOG1P_F32[4] = {-0x1.fffff0p-2f, 0x1.555548p-2f, -0x1.008f4ep-2f, 0x1.9a8f4ap-3f};

/* x + e ln2 for integers e given times 2^mantissa. */
KL_INLINE vf64 kl_add_exponent_f64(vf64 x, vu64 scaled)
{
    return KL_FMA_F64(kl_exponent((vi64)scaled), kl_set_f64(KL_LN2 * KL_EXPONENT_UNIT), x);
}
KL_INLINE vf32 kl_add_exponent_f32(vf32 x, vu32 scaled)
{
    return KL_FMA_F32(__builtin_convertvector((vi32)scaled, vf32), kl_set_f32((float)KL_LN2 * 0x1p-23f), x);
}

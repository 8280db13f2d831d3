/* The rest of log Gamma, for the families and for the kernels: from z = KL_SHIFTED_TO on,
 *     log Gamma(z) = z log z - z + h(z),     h(z) = log(2 pi/z)/2 + R(1/z),     R(u) = u P(u^2),
 * Stirling's series with a polynomial P that is minimax for h'' there, of which everything else is an integral: error
 * 2.4e-17 of h'' (mpmath.chebyfit of z^3 (h''(z) - 1/(2 z^2)) in z^-2, each coefficient over (2 j + 1)(2 j + 2)).
 */
#ifndef KL_GAMMA_SERIES_H
#define KL_GAMMA_SERIES_H

#define KL_SHIFTED_TO 4
#define KL_SHIFTED_TERMS 11
static const double KL_SHIFTED[KL_SHIFTED_TERMS] = {
    0x1.5555555555553p-4, -0x1.6c16c16c09890p-9, 0x1.a01a016a7b37dp-11, -0x1.3813647871a15p-11,
    0x1.b94890428ba88p-11, -0x1.f5ae7a6adac0ap-10, 0x1.9af411755a0a9p-8, -0x1.a821654c0b438p-6,
    0x1.c0591d96dff25p-4, -0x1.72ec186b34ea6p-2, 0x1.43176d7f2c124p-1};

#endif

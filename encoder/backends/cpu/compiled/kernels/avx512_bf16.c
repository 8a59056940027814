/* bfloat16 with vdpbf16ps: pairs are multiplied and added to a float32 sum; numbers below the normal ones count as 0. */
#if defined(__x86_64__)
#include "targets.h"
BEGIN_TARGET_BF16
#define VW 16
#include "vectors.h"
#include "bfloat16.h"
#define NAME(x) avx512_bf16_##x
#define EL 2
#define MR 8
#define PANELS 2
#define FLOATING 1
#define BEGIN
#define END

INLINE void tile(const char *x, int64_t row, int64_t lines, const char *weight, int two, int32_t *sums) {
    const int64_t pitch = lines * 64, groups = lines * 16;
    const char *from = x + row * pitch, *second = two ? weight + groups * 64 : weight;
    __m512 sum[8][2];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) sum[i][0] = sum[i][1] = _mm512_setzero_ps();
    for (int64_t group = 0; group < groups; group++) {
        const __m512bh left = (__m512bh)_mm512_load_si512(weight + group * 64), right = (__m512bh)_mm512_load_si512(second + group * 64);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            int32_t two_values;
            memcpy(&two_values, from + i * pitch + group * 4, 4);
            const __m512bh pair = (__m512bh)_mm512_set1_epi32(two_values);
            sum[i][0] = _mm512_dpbf16_ps(sum[i][0], pair, left);
            sum[i][1] = _mm512_dpbf16_ps(sum[i][1], pair, right);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        _mm512_store_ps(sums + i * 16, sum[i][0]);
        _mm512_store_ps(sums + (8 + i) * 16, sum[i][1]);
    }
}
#include "products.h"
END_TARGET
#else
typedef int nothing_for_this_processor;
#endif

/* int8 with vpdpbusd on AVX-512. */
#if defined(__x86_64__)
#include "targets.h"
BEGIN_TARGET_VNNI
#define VW 16
#include "vectors.h"
#define NAME(x) vnni_int8_##x
#define EL 1
#define MR 8
#define PANELS 2
#define FLOATING 0
#define BEGIN
#define END

#include "bytes.h"

INLINE void tile(const char *x, int64_t row, int64_t lines, const char *weight, int two, int32_t *sums) {
    const int64_t pitch = lines * 64, groups = lines * 16;
    const char *from = x + row * pitch, *second = two ? weight + groups * 64 : weight;
    __m512i sum[8][2];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) sum[i][0] = sum[i][1] = _mm512_setzero_si512();
    for (int64_t group = 0; group < groups; group++) {
        const __m512i left = _mm512_load_si512(weight + group * 64), right = _mm512_load_si512(second + group * 64);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            int32_t four;
            memcpy(&four, from + i * pitch + group * 4, 4);
            const __m512i quad = _mm512_set1_epi32(four);
            sum[i][0] = _mm512_dpbusd_epi32(sum[i][0], quad, left);
            sum[i][1] = _mm512_dpbusd_epi32(sum[i][1], quad, right);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        _mm512_store_si512(sums + i * 16, sum[i][0]);
        _mm512_store_si512(sums + (8 + i) * 16, sum[i][1]);
    }
}
#include "products.h"
END_TARGET
#else
typedef int nothing_for_this_processor;
#endif

/* int8 on AVX2. vpmaddubsw adds two products in 16 bits, and stops at their limits. No sum here gets there: weights are scaled so that four such pairs in a
row fit for any x (quantization.py), which is why four are added up before they are widened to 32 bits. */
#if defined(__x86_64__)
#include "targets.h"
BEGIN_TARGET_AVX2
#define VW 8
#include "vectors.h"
#define NAME(x) avx2_int8_##x
#define EL 1
#define MR 6
#define PANELS 1
#define FLOATING 0
#define BEGIN
#define END

INLINE void store_line(char *out, const int32_t *values) {
    for (int i = 0; i < 64; i += 32) {
        const __m256i *from = (const __m256i *)(values + i);
        __m256i low = _mm256_packs_epi32(from[0], from[1]), high = _mm256_packs_epi32(from[2], from[3]);
        __m256i bytes = _mm256_packus_epi16(low, high);
        _mm256_storeu_si256((__m256i *)(out + i), _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
    }
}

INLINE void tile(const char *x, int64_t row, int64_t lines, const char *weight, int two, int32_t *sums) {
    const int64_t pitch = lines * 64, groups = lines * 16;
    const char *from = x + row * pitch;
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sum[MR][2];
    (void)two;
#pragma GCC unroll 6
    for (int i = 0; i < MR; i++) sum[i][0] = sum[i][1] = _mm256_setzero_si256();
    for (int64_t group = 0; group < groups; group += 4) {
        const __m256i *w = (const __m256i *)(weight + group * 64);
#pragma GCC unroll 6
        for (int i = 0; i < MR; i++) {
            const float *four = (const float *)(from + i * pitch + group * 4);
            __m256i left, right;
#pragma GCC unroll 4
            for (int g = 0; g < 4; g++) {
                const __m256i quad = _mm256_castps_si256(_mm256_broadcast_ss(four + g));
                const __m256i a = _mm256_maddubs_epi16(quad, w[2 * g]), b = _mm256_maddubs_epi16(quad, w[2 * g + 1]);
                left = g ? _mm256_add_epi16(left, a) : a;
                right = g ? _mm256_add_epi16(right, b) : b;
            }
            sum[i][0] = _mm256_add_epi32(sum[i][0], _mm256_madd_epi16(left, ones));
            sum[i][1] = _mm256_add_epi32(sum[i][1], _mm256_madd_epi16(right, ones));
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < MR; i++) {
        _mm256_store_si256((__m256i *)(sums + i * 16), sum[i][0]);
        _mm256_store_si256((__m256i *)(sums + i * 16 + 8), sum[i][1]);
    }
}
#include "products.h"
END_TARGET
#else
typedef int nothing_for_this_processor;
#endif

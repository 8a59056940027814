/* float32 on AVX2: activation(x @ weight.T + bias), six rows and sixteen outputs at a time in twelve registers. Each output is one chain of multiply-adds over
K, from the first to the last, so a row's bits depend neither on the rows beside it nor on the processor. */
#if defined(__x86_64__)
#include "targets.h"
BEGIN_TARGET_AVX2
#define VW 8
#include "vectors.h"
#include "product.h"
#define MR 6
#define ROWS 192 /* of x that meet one panel before the next: they stay in the L2 or L3 cache, the panel in the L1 */

INLINE void finish(const Product *p, int64_t n, vf sum, float *y) {
    const int64_t left = p->outputs - n;
    const vf value = v_activate(v_add(sum, v_load(p->bias + n)), p->activation);
    if (left >= VW) v_store(y + n, value);
    else if (left > 0) v_store_some(y + n, value, left);
}

/* Rows from `row` on, MR or as many as are left: the last stands in for those that are not there. */
INLINE void tile(const Product *p, int64_t panel, const float *x, int64_t x_pitch, int64_t count, float *y, int64_t y_pitch) {
    const float *weight = (const float *)p->weight + panel * p->lines * 16 * 16, *from[MR];
    vf sum[MR][2];
#pragma GCC unroll 6
    for (int i = 0; i < MR; i++) {
        from[i] = x + (i < count ? i : count - 1) * x_pitch;
        sum[i][0] = sum[i][1] = v_set(0);
    }
    for (int64_t k = 0; k < p->columns; k++, weight += 16) {
        const vf left = v_load(weight), right = v_load(weight + VW);
#pragma GCC unroll 6
        for (int i = 0; i < MR; i++) {
            const vf one = _mm256_broadcast_ss(from[i] + k);
            sum[i][0] = v_fma(one, left, sum[i][0]);
            sum[i][1] = v_fma(one, right, sum[i][1]);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < MR; i++) {
        if (i >= count) break;
        finish(p, panel * 16, sum[i][0], y + i * y_pitch);
        finish(p, panel * 16 + VW, sum[i][1], y + i * y_pitch);
    }
}

/* x: [rows, columns] with `x_pitch` floats from row to row, y: [rows, outputs] with y_pitch. scratch is for the paths that bring x to fewer bits. */
void avx2_f32_product(const Product *p, const float *x, int64_t x_pitch, int64_t rows, float *y, int64_t y_pitch, char *scratch) {
    const int64_t panels = (p->outputs + 15) / 16;
    (void)scratch;
    for (int64_t first = 0; first < rows; first += ROWS) {
        const int64_t last = rows - first < ROWS ? rows : first + ROWS;
        for (int64_t panel = 0; panel < panels; panel++)
            for (int64_t row = first; row < last; row += MR)
                tile(p, panel, x + row * x_pitch, x_pitch, last - row < MR ? last - row : MR, y + row * y_pitch, y_pitch);
    }
}
END_TARGET
#else
typedef int nothing_for_this_processor;
#endif

// What the distance k - q between a key and a query does to attention; both parts are optional and leave no trace in machine code without.
//
// WINDOW (a define): a query sees the keys with |k - q| <= WINDOW. Only blocks of keys at an edge of the window are masked. BIAS_RADIUS, R (a define): bias[h, clip(k - q, -R, R) + R] is added to the scaled scores.
#pragma once
#include "../../cupy/kernels/attention_span.cuh"

#ifdef WINDOW
// distance: from the first of a warp's 16 rows to the block's first key. Scores outside the window become NONE.
template <int N, int SIZE> __device__ __forceinline__ void hide_distant(float (&score)[SIZE], int distance) {
    if (distance - 15 >= -WINDOW && distance + N - 1 <= WINDOW) return;
    int lane = threadIdx.x & 31, at = distance + (lane & 3) * 2 - (lane >> 2) + WINDOW;
#pragma unroll
    for (int i = 0; i < N / 2; ++i)
        if ((unsigned)(at + (i >> 2) * 8 + (i & 1) - (i & 2) * 4) > 2u * WINDOW) score[i] = NONE;
}
#endif

#ifdef BIAS_RADIUS
#define BIAS_PARAMETER , const float* bias  // of a kernel
#define BIAS_ARGUMENT bias
// A head's biases by distance, from -BIAS_REACH on, divided by the scale of the scores; twice, the second time one place earlier, so that two
// neighbours can be read at once from any distance. Where a block is so far from its rows that it has one bias for all, it is read nearer by.
#define BIAS_REACH ((BIAS_RADIUS + 81) / 2 * 2)  // even, as are the places of pairs
#define BIAS_LINE (2 * BIAS_REACH)
#define BIAS_FLOATS (2 * BIAS_LINE)  // tables are [H, BIAS_FLOATS]
#define BIAS_NEAREST (-(BIAS_RADIUS + 64) / 2 * 2)
#define BIAS_FARTHEST ((BIAS_RADIUS + 17) / 2 * 2)

__device__ __forceinline__ void copy_bias(float* to, const float* tables, int head) {
    const float* from = tables + head * BIAS_FLOATS;
    for (int i = threadIdx.x % COPIERS * 4; i < BIAS_FLOATS; i += COPIERS * 4) copy_async(shared_address(to) + i * 4, from + i, true);
}

// Scores of N keys before the product is added to them: the biases, as tensor cores leave their results.
template <int N> __device__ __forceinline__ void start_scores(float* score, const float* bias, int distance) {
    int lane = threadIdx.x & 31, row = lane >> 2;
    int near = distance < BIAS_NEAREST ? BIAS_NEAREST : distance > BIAS_FARTHEST ? BIAS_FARTHEST : distance;
    bits32 at = shared_address(bias + BIAS_REACH + near + (lane & 3) * 2 - row + (row & 1) * (BIAS_LINE - 1));
#pragma unroll
    for (int n = 0; n < N / 8; ++n)
#pragma unroll
        for (int half = 0; half < 2; ++half) load_two(score[4 * n + 2 * half], score[4 * n + 2 * half + 1], at + (n - half) * 32);
}
#else
#define BIAS_PARAMETER
#define BIAS_ARGUMENT nullptr
#endif

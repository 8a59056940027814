// Hidden states of each document -> one float32 row, in a fixed order over its tokens; then L2 and the Dense module on [B, .] rows.
// Memory-bound: hidden states are read once. POOLING (a define): 0 cls, 1 mean, 2 max, 3 last.
#include "activation.cuh"

#if WIDTH % VECTOR == 0
#define STEP VECTOR
#else
#define STEP 1
#endif
#define SLICES 4  // tokens t, t+4, t+8, ... are summed by one slice of the block; the four sums are then added in order

#ifdef POOLING
// hidden [T, WIDTH]; cu_seqlens [B+1]; count: B; out [B, WIDTH]. Block (64, SLICES); grid-stride over documents.
extern "C" __global__ void __launch_bounds__(256) segment_pool(const stored* hidden, const int* cu_seqlens, const int* count, float* out) {
    __shared__ float partial[SLICES][64 * STEP];
    int sequences = *count, slice = threadIdx.y;
    for (int b = blockIdx.x; b < sequences; b += gridDim.x) {
        int first = cu_seqlens[b], length = cu_seqlens[b + 1] - first;
        for (int start = 0; start < WIDTH; start += 64 * STEP) {
            int c = start + threadIdx.x * STEP;
            float value[STEP];
            for (int i = 0; i < STEP; ++i) value[i] = POOLING == 2 ? -3.4e38f : 0.0f;
            if (c < WIDTH) {
                int begin = POOLING == 3 ? length - 1 : slice, end = POOLING == 0 ? 1 : length;
#pragma unroll 4
                for (int t = begin; t < end; t += SLICES) {
                    const stored* row = hidden + (long long)(first + t) * WIDTH + c;
                    float v[STEP];
#if STEP > 1
                    unpack(*(const Packed*)row, v);
#else
                    v[0] = unpack_float(*row);
#endif
#pragma unroll
                    for (int i = 0; i < STEP; ++i) value[i] = POOLING == 2 ? fmaxf(value[i], v[i]) : value[i] + v[i];
                }
            }
            for (int i = 0; i < STEP; ++i) partial[slice][threadIdx.x * STEP + i] = value[i];
            __syncthreads();
            if (slice == 0 && c < WIDTH)
                for (int i = 0; i < STEP; ++i) {
                    float x = value[i];
                    for (int s = 1; s < SLICES; ++s) {
                        float other = partial[s][threadIdx.x * STEP + i];
                        if (POOLING == 2) x = fmaxf(x, other);
                        if (POOLING == 1) x += other;
                    }
                    out[(long long)b * WIDTH + c + i] = POOLING == 1 ? x / (float)length : x;
                }
            __syncthreads();
        }
    }
}
#endif

// x [B, WIDTH] float32 -> each row / max(its norm, 1e-12). Block (32, rows per block); grid-stride over rows.
extern "C" __global__ void __launch_bounds__(256) l2_normalize(const float* x, const int* count, float* out) {
    int rows = *count;
    for (int b = blockIdx.x * blockDim.y + threadIdx.y; b < rows; b += gridDim.x * blockDim.y) {
        const float* row = x + (long long)b * WIDTH;
        float squares = 0.0f;
        for (int c = threadIdx.x; c < WIDTH; c += LANES) squares = fmaf(row[c], row[c], squares);
        float scale = 1.0f / fmaxf(sqrtf(lanes_sum(squares)), 1e-12f);
        for (int c = threadIdx.x; c < WIDTH; c += LANES) out[(long long)b * WIDTH + c] = row[c] * scale;
    }
}

// activation(x [B, WIDTH] @ weight[N, WIDTH]^T + bias[N]) -> out [B, N], all float32. Block (32, 8): eight rows share each weight row they read;
// grid (N blocks, row blocks), grid-stride over rows. A row's sum runs over its columns in one order, whatever the other rows are.
extern "C" __global__ void __launch_bounds__(256) dense(const float* x, const float* weight, const float* bias, const int* count, float* out, int outputs) {
    int rows = *count;
    for (int b = blockIdx.y * blockDim.y + threadIdx.y; b < rows; b += gridDim.y * blockDim.y)
        for (int n = blockIdx.x; n < outputs; n += gridDim.x) {
            float sum = 0.0f;
            for (int c = threadIdx.x; c < WIDTH; c += LANES) sum = fmaf(x[(long long)b * WIDTH + c], weight[(long long)n * WIDTH + c], sum);
            sum = lanes_sum(sum);
            if (threadIdx.x == 0) out[(long long)b * outputs + n] = activate(sum + (bias ? bias[n] : 0.0f));
        }
}

// x [B, columns] -> its first WIDTH columns. Block (32, rows per block); grid-stride over rows.
extern "C" __global__ void __launch_bounds__(256) truncate(const float* x, const int* count, float* out, int columns) {
    int rows = *count;
    for (int b = blockIdx.x * blockDim.y + threadIdx.y; b < rows; b += gridDim.x * blockDim.y)
        for (int c = threadIdx.x; c < WIDTH; c += LANES) out[(long long)b * WIDTH + c] = x[(long long)b * columns + c];
}

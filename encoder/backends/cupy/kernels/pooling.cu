// Hidden states of each document -> one float32 row, in a fixed order over its tokens; then L2 and the Dense module on [B, .] rows.
// Memory-bound: hidden states are read once. POOLING (a define): 0 cls, 1 mean, 2 max, 3 last,
// 4 weightedmean, 5 mean_sqrt_len_tokens.
#include "activation.cuh"

#if WIDTH % VECTOR == 0
#define STEP VECTOR
#else
#define STEP 1
#endif
#define SLICES 4  // tokens t, t+4, t+8, ... are summed by one slice of the block; the four sums are then added in order

#ifdef POOLING
// STEP values of a row, which a thread reads at once.
__device__ __forceinline__ void read_values(const stored* row, float (&values)[STEP]) {
#if STEP > 1
    unpack(*(const Packed*)row, values);
#else
    values[0] = unpack_float(*row);
#endif
}

// One value of a row, and what is to be added of it.
__device__ __forceinline__ float weighed(float value, int token) { return POOLING == 4 ? value * (float)(token + 1) : value; }

// hidden [T, WIDTH]; cu_seqlens [B+1]; count: B; skip: how many tokens of each document are left out at its start ("cls" takes the first of the
// others, or the first where there are no others; "last" takes the last all the same); out [B, WIDTH], 0 where nothing is left.
// Block (64, SLICES); grid-stride over documents.
extern "C" __global__ void __launch_bounds__(256) segment_pool(const stored* hidden, const int* cu_seqlens, const int* count, const int* skip, float* out) {
    __shared__ float partial[SLICES][64 * STEP];
    int sequences = *count, slice = threadIdx.y, skipped = POOLING == 3 ? 0 : *skip;
    for (int b = blockIdx.x; b < sequences; b += gridDim.x) {
        int first = cu_seqlens[b], length = cu_seqlens[b + 1] - first, before = skipped < length ? skipped : POOLING == 0 ? 0 : length;
        for (int start = 0; start < WIDTH; start += 64 * STEP) {
            int c = start + threadIdx.x * STEP;
            float value[STEP];
            for (int i = 0; i < STEP; ++i) value[i] = POOLING == 2 ? -3.4e38f : 0.0f;
            if (c < WIDTH) {
                int begin = POOLING == 3 ? length - 1 : before, end = POOLING == 0 ? before + 1 : length;
#pragma unroll 4
                for (int t = begin + slice; t < end; t += SLICES) {
                    float v[STEP];
                    read_values(hidden + (long long)(first + t) * WIDTH + c, v);
#pragma unroll
                    for (int i = 0; i < STEP; ++i) value[i] = POOLING == 2 ? fmaxf(value[i], v[i]) : value[i] + weighed(v[i], t);
                }
            }
            for (int i = 0; i < STEP; ++i) partial[slice][threadIdx.x * STEP + i] = value[i];
            __syncthreads();
            if (slice == 0 && c < WIDTH) {
                float left = (float)(length - before), weight = 1.0f;
                if (POOLING == 1) weight = left;
                if (POOLING == 4) weight = 0.5f * ((float)length * (float)(length + 1) - (float)before * (float)(before + 1));
                if (POOLING == 5) weight = sqrtf(left);
                for (int i = 0; i < STEP; ++i) {
                    float x = value[i];
                    for (int s = 1; s < SLICES; ++s) {
                        float other = partial[s][threadIdx.x * STEP + i];
                        if (POOLING == 2) x = fmaxf(x, other);
                        else if (POOLING != 0 && POOLING != 3) x += other;
                    }
                    out[(long long)b * WIDTH + c + i] = before == length ? 0.0f : x / weight;
                }
            }
            __syncthreads();
        }
    }
}

// The mean over stretches of rows. hidden [T, WIDTH]; spans [S, 2], the first row and the end of each; count: S; out [S, WIDTH], 0 where a span has no
// row. A span that is a whole document is added up as segment_pool does it. Block (64, SLICES); grid-stride over spans.
extern "C" __global__ void __launch_bounds__(256) span_pool(const stored* hidden, const int* spans, const int* count, float* out) {
    __shared__ float partial[SLICES][64 * STEP];
    int pooled = *count, slice = threadIdx.y;
    for (int b = blockIdx.x; b < pooled; b += gridDim.x) {
        int first = spans[2 * b], length = spans[2 * b + 1] - first;
        for (int start = 0; start < WIDTH; start += 64 * STEP) {
            int c = start + threadIdx.x * STEP;
            float value[STEP];
            for (int i = 0; i < STEP; ++i) value[i] = 0.0f;
            if (c < WIDTH) {
#pragma unroll 4
                for (int t = slice; t < length; t += SLICES) {
                    float v[STEP];
                    read_values(hidden + (long long)(first + t) * WIDTH + c, v);
#pragma unroll
                    for (int i = 0; i < STEP; ++i) value[i] += v[i];
                }
            }
            for (int i = 0; i < STEP; ++i) partial[slice][threadIdx.x * STEP + i] = value[i];
            __syncthreads();
            if (slice == 0 && c < WIDTH)
                for (int i = 0; i < STEP; ++i) {
                    float x = value[i];
                    for (int s = 1; s < SLICES; ++s) x += partial[s][threadIdx.x * STEP + i];
                    out[(long long)b * WIDTH + c + i] = length > 0 ? x / (float)length : 0.0f;
                }
            __syncthreads();
        }
    }
}

#endif

// x [B, WIDTH] float32 -> each row to mean 0 and variance 1. Block (32, rows per block); grid-stride over rows.
extern "C" __global__ void __launch_bounds__(256) layer_norm(const float* x, const int* count, float eps, float* out) {
    int rows = *count;
    for (int b = blockIdx.x * blockDim.y + threadIdx.y; b < rows; b += gridDim.x * blockDim.y) {
        const float* row = x + (long long)b * WIDTH;
        float sum = 0.0f, squares = 0.0f;
        for (int c = threadIdx.x; c < WIDTH; c += LANES) sum += row[c];
        float mean = lanes_sum(sum) * (1.0f / WIDTH);
        for (int c = threadIdx.x; c < WIDTH; c += LANES) squares = fmaf(row[c] - mean, row[c] - mean, squares);
        float scale = 1.0f / sqrtf(lanes_sum(squares) * (1.0f / WIDTH) + eps);
        for (int c = threadIdx.x; c < WIDTH; c += LANES) out[(long long)b * WIDTH + c] = (row[c] - mean) * scale;
    }
}

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

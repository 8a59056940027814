// Embedding sum + LayerNorm, and (residual +) LayerNorm. One row of WIDTH values per 32 lanes, held in registers; two-pass variance.
// Memory-bound: WIDTH * sizeof(stored) read and written once per row. Block: (32, rows per block).
#include "storage.cuh"

#if WIDTH % VECTOR == 0
#define STEP VECTOR
#else
#define STEP 1
#endif
#define PIECES ((WIDTH + LANES * STEP - 1) / (LANES * STEP))

struct Row { float value[PIECES][STEP]; };

__device__ __forceinline__ int column(int piece) { return (piece * LANES + threadIdx.x) * STEP; }

__device__ __forceinline__ void add_row(Row& row, const stored* from) {
#pragma unroll
    for (int p = 0; p < PIECES; ++p) {
        int c = column(p);
        if (c >= WIDTH) continue;
#if STEP > 1
        Packed v = *(const Packed*)(from + c);
#pragma unroll
        for (int i = 0; i < STEP; ++i) row.value[p][i] += unpack_float(v.item[i]);
#else
        row.value[p][0] += unpack_float(from[c]);
#endif
    }
}

__device__ __forceinline__ void normalize_row(Row& row, const float* gamma, const float* beta, float eps, stored* out) {
    float sum = 0.0f, squares = 0.0f;
#pragma unroll
    for (int p = 0; p < PIECES; ++p)
        for (int i = 0; i < STEP; ++i) sum += row.value[p][i];
    float mean = lanes_sum(sum) * (1.0f / WIDTH);
#pragma unroll
    for (int p = 0; p < PIECES; ++p)
        for (int i = 0; i < STEP; ++i) {
            float d = column(p) < WIDTH ? row.value[p][i] - mean : 0.0f;
            squares = fmaf(d, d, squares);
        }
    float scale = 1.0f / sqrtf(lanes_sum(squares) * (1.0f / WIDTH) + eps);
#pragma unroll
    for (int p = 0; p < PIECES; ++p) {
        int c = column(p);
        if (c >= WIDTH) continue;
#if STEP > 1
        Packed v;
#pragma unroll
        for (int i = 0; i < STEP; ++i) v.item[i] = pack_float(fmaf((row.value[p][i] - mean) * scale, gamma[c + i], beta[c + i]));
        *(Packed*)(out + c) = v;
#else
        out[c] = pack_float(fmaf((row.value[p][0] - mean) * scale, gamma[c], beta[c]));
#endif
    }
}

__device__ __forceinline__ void clear(Row& row) {
#pragma unroll
    for (int p = 0; p < PIECES; ++p)
        for (int i = 0; i < STEP; ++i) row.value[p][i] = 0.0f;
}

// word [V, WIDTH] + position [P, WIDTH] + token_type [WIDTH], then LayerNorm -> out [rows, WIDTH]
extern "C" __global__ void __launch_bounds__(256) embed_layer_norm(
    const int* input_ids, const int* position_ids, const stored* word, const stored* position, const stored* token_type,
    const float* gamma, const float* beta, float eps, stored* out, int rows) {
    int r = blockIdx.x * blockDim.y + threadIdx.y;
    if (r >= rows) return;
    Row row;
    clear(row);
    add_row(row, word + (long long)input_ids[r] * WIDTH);
    add_row(row, position + (long long)position_ids[r] * WIDTH);
    add_row(row, token_type);
    normalize_row(row, gamma, beta, eps, out + (long long)r * WIDTH);
}

// LayerNorm(x + residual) -> out [rows, WIDTH]; residual may be null, out may be x itself
extern "C" __global__ void __launch_bounds__(256) add_layer_norm(
    const stored* x, const stored* residual, const float* gamma, const float* beta, float eps, stored* out, int rows) {
    int r = blockIdx.x * blockDim.y + threadIdx.y;
    if (r >= rows) return;
    long long at = (long long)r * WIDTH;
    Row row;
    clear(row);
    add_row(row, x + at);
    if (residual) add_row(row, residual + at);
    normalize_row(row, gamma, beta, eps, out + at);
}

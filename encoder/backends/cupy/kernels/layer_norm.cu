// Embedding sum (+ LayerNorm), and (residual +) LayerNorm. One row of WIDTH values per 32 lanes, held in registers; two-pass variance.
// Memory-bound: WIDTH * sizeof(stored) read and written once per row. Block (32, 8), as many as are resident: each 32 lanes walk over rows
// and fetch the next one while they reduce this one; gamma and beta wait in shared memory.
#include "storage.cuh"

#if WIDTH % VECTOR == 0
#define STEP VECTOR
#else
#define STEP 1
#endif
#define PIECES ((WIDTH + LANES * STEP - 1) / (LANES * STEP))

#if STEP > 1
typedef Packed Piece;
#else
typedef stored Piece;
#endif

struct StoredRow { Piece piece[PIECES]; };
struct Row { float value[PIECES][STEP]; };

// gamma or beta in shared memory, in the order in which lanes read it: 16 bytes beside 16 bytes
#if STEP > 1
struct Vector { float4 quad[PIECES][STEP / 4][LANES]; };
#else
struct Vector { float single[PIECES][LANES]; };
#endif

__device__ __forceinline__ int column(int piece) { return (piece * LANES + threadIdx.x) * STEP; }

__device__ __forceinline__ void fill(Vector& to, const float* from) {
    for (int p = threadIdx.y; p < PIECES; p += blockDim.y) {
        int c = column(p);
        if (c >= WIDTH) continue;
#if STEP > 1
        for (int q = 0; q < STEP / 4; ++q) to.quad[p][q][threadIdx.x] = *(const float4*)(from + c + 4 * q);
#else
        to.single[p][threadIdx.x] = from[c];
#endif
    }
}

__device__ __forceinline__ void read(float (&to)[STEP], const Vector& from, int p) {
#if STEP > 1
#pragma unroll
    for (int q = 0; q < STEP / 4; ++q) {
        float4 v = from.quad[p][q][threadIdx.x];
        to[4 * q] = v.x; to[4 * q + 1] = v.y; to[4 * q + 2] = v.z; to[4 * q + 3] = v.w;
    }
#else
    to[0] = from.single[p][threadIdx.x];
#endif
}

__device__ __forceinline__ void load(StoredRow& row, const stored* from) {
#pragma unroll
    for (int p = 0; p < PIECES; ++p)
        if (column(p) < WIDTH) row.piece[p] = *(const Piece*)(from + column(p));
}

__device__ __forceinline__ void clear(Row& row) {
#pragma unroll
    for (int p = 0; p < PIECES; ++p)
        for (int i = 0; i < STEP; ++i) row.value[p][i] = 0.0f;
}

__device__ __forceinline__ void add(Row& row, const StoredRow& other) {
#pragma unroll
    for (int p = 0; p < PIECES; ++p) {
        if (column(p) >= WIDTH) continue;
#if STEP > 1
        float v[STEP];
        unpack(other.piece[p], v);
#pragma unroll
        for (int i = 0; i < STEP; ++i) row.value[p][i] += v[i];
#else
        row.value[p][0] += unpack_float(other.piece[p]);
#endif
    }
}

__device__ __forceinline__ void normalize(Row& row, const Vector& gamma, const Vector& beta, float eps, stored* out) {
    float sum = 0.0f, squares = 0.0f;
#pragma unroll
    for (int p = 0; p < PIECES; ++p)
        for (int i = 0; i < STEP; ++i) sum += row.value[p][i];
    float mean = lanes_sum(sum) * (1.0f / WIDTH);
#pragma unroll
    for (int p = 0; p < PIECES; ++p)
        for (int i = 0; i < STEP; ++i) {
            row.value[p][i] -= mean;
            if (column(p) < WIDTH) squares = fmaf(row.value[p][i], row.value[p][i], squares);
        }
    float scale = 1.0f / sqrtf(lanes_sum(squares) * (1.0f / WIDTH) + eps);
#pragma unroll
    for (int p = 0; p < PIECES; ++p) {
        int c = column(p);
        if (c >= WIDTH) continue;
        float g[STEP], b[STEP], v[STEP];
        read(g, gamma, p);
        read(b, beta, p);
#pragma unroll
        for (int i = 0; i < STEP; ++i) v[i] = fmaf(row.value[p][i] * scale, g[i], b[i]);
#if STEP > 1
        *(Packed*)(out + c) = pack(v);
#else
        out[c] = pack_float(v[0]);
#endif
    }
}

__device__ __forceinline__ void store(const Row& row, stored* out) {
#pragma unroll
    for (int p = 0; p < PIECES; ++p) {
        if (column(p) >= WIDTH) continue;
#if STEP > 1
        *(Packed*)(out + column(p)) = pack(row.value[p]);
#else
        out[column(p)] = pack_float(row.value[p][0]);
#endif
    }
}

// word [V, WIDTH] (+ position [P, WIDTH]) (+ token_type [WIDTH]) -> out [rows, WIDTH]; after LayerNorm where there is a gamma
extern "C" __global__ void __launch_bounds__(256) embed(
    const int* input_ids, const int* position_ids, const stored* word, const stored* position, const stored* token_type,
    const float* gamma, const float* beta, float eps, stored* out, int rows) {
    __shared__ Vector scale, shift;
    if (gamma) {
        fill(scale, gamma);
        fill(shift, beta);
    }
    __syncthreads();
    StoredRow type;
    if (token_type) load(type, token_type);
    for (int r = blockIdx.x * blockDim.y + threadIdx.y; r < rows; r += gridDim.x * blockDim.y) {
        StoredRow words, places;
        load(words, word + (long long)input_ids[r] * WIDTH);
        if (position) load(places, position + (long long)position_ids[r] * WIDTH);
        Row row;
        clear(row);
        add(row, words);
        if (position) add(row, places);
        if (token_type) add(row, type);
        if (gamma) normalize(row, scale, shift, eps, out + (long long)r * WIDTH);
        else store(row, out + (long long)r * WIDTH);
    }
}

// word [V, WIDTH] + position [P, WIDTH] + token_type [WIDTH], then LayerNorm -> out [rows, WIDTH]
extern "C" __global__ void __launch_bounds__(256) embed_layer_norm(
    const int* input_ids, const int* position_ids, const stored* word, const stored* position, const stored* token_type,
    const float* gamma, const float* beta, float eps, stored* out, int rows) {
    __shared__ Vector scale, shift;
    fill(scale, gamma);
    fill(shift, beta);
    __syncthreads();
    StoredRow type;
    load(type, token_type);
    for (int r = blockIdx.x * blockDim.y + threadIdx.y; r < rows; r += gridDim.x * blockDim.y) {
        StoredRow words, places;
        load(words, word + (long long)input_ids[r] * WIDTH);
        load(places, position + (long long)position_ids[r] * WIDTH);
        Row row;
        clear(row);
        add(row, words);
        add(row, places);
        add(row, type);
        normalize(row, scale, shift, eps, out + (long long)r * WIDTH);
    }
}

// LayerNorm(x + residual) -> out [rows, WIDTH]; residual may be null, out may be x itself. The sum is in float32: a product that added the residual
// would have to store it in 16 bits first (BERT-large, bfloat16: minimum cosine 0.9640 so, 0.9708 so), and was slower by 0.2 to 1 %.
extern "C" __global__ void __launch_bounds__(256) add_layer_norm(
    const stored* x, const stored* residual, const float* gamma, const float* beta, float eps, stored* out, int rows) {
    __shared__ Vector scale, shift;
    int stride = gridDim.x * blockDim.y, r = blockIdx.x * blockDim.y + threadIdx.y;
    StoredRow next, other;
    if (r < rows) load(next, x + (long long)r * WIDTH);
    fill(scale, gamma);
    fill(shift, beta);
    __syncthreads();
    for (; r < rows; r += stride) {
        Row row;
        clear(row);
        add(row, next);
        if (r + stride < rows) load(next, x + (long long)(r + stride) * WIDTH);
        if (residual) {
            load(other, residual + (long long)r * WIDTH);
            add(row, other);
        }
        normalize(row, scale, shift, eps, out + (long long)r * WIDTH);
    }
}

// x + residual -> sum, LayerNorm(x + residual) -> out, both [rows, WIDTH]; each may be x or residual itself. What is normalised is not rounded before.
extern "C" __global__ void __launch_bounds__(256) sum_layer_norm(
    const stored* x, const stored* residual, const float* gamma, const float* beta, float eps, stored* sum, stored* out, int rows) {
    __shared__ Vector scale, shift;
    int stride = gridDim.x * blockDim.y, r = blockIdx.x * blockDim.y + threadIdx.y;
    StoredRow next, other;
    if (r < rows) load(next, x + (long long)r * WIDTH);
    fill(scale, gamma);
    fill(shift, beta);
    __syncthreads();
    for (; r < rows; r += stride) {
        Row row;
        clear(row);
        add(row, next);
        load(other, residual + (long long)r * WIDTH);
        if (r + stride < rows) load(next, x + (long long)(r + stride) * WIDTH);
        add(row, other);
        store(row, sum + (long long)r * WIDTH);
        normalize(row, scale, shift, eps, out + (long long)r * WIDTH);
    }
}

// Rotary position embeddings by halves: column i of a head turns together with column i + D/2 by its row's angle.
// Memory-bound: queries and keys read and written once. HEAD_DIM (a define): D, even.
#include "storage.cuh"

#define HALF (HEAD_DIM / 2)
#if HALF % VECTOR == 0
#define STEP VECTOR
#else
#define STEP 1
#endif

// qkv [rows, 3, H, D], its queries and keys turned in place. angles [., D/2] of (cosine, sine); positions [rows]: which row of it; null: the row itself.
extern "C" __global__ void __launch_bounds__(256) turn(
    stored* qkv, const float2* angles, const int* positions, int rows, int num_heads) {
    int pieces = 2 * num_heads * (HALF / STEP);  // of a row: first halves of queries and keys
    long long all = (long long)rows * pieces, stride = (long long)gridDim.x * blockDim.x;
    for (long long p = (long long)blockIdx.x * blockDim.x + threadIdx.x; p < all; p += stride) {
        int row = (int)(p / pieces), piece = (int)(p % pieces), head = piece / (HALF / STEP), i = piece % (HALF / STEP) * STEP;
        stored* at = qkv + ((long long)row * 3 * num_heads + head) * HEAD_DIM + i;
        const float2* angle = angles + (long long)(positions ? positions[row] : row) * HALF + i;
        float low[STEP], high[STEP], turned[STEP];
#if STEP > 1
        unpack(*(const Packed*)at, low);
        unpack(*(const Packed*)(at + HALF), high);
#else
        low[0] = unpack_float(at[0]);
        high[0] = unpack_float(at[HALF]);
#endif
#pragma unroll
        for (int s = 0; s < STEP; ++s) {
            float2 a = angle[s];
            turned[s] = fmaf(low[s], a.x, -high[s] * a.y);
            high[s] = fmaf(high[s], a.x, low[s] * a.y);
        }
#if STEP > 1
        *(Packed*)at = pack(turned);
        *(Packed*)(at + HALF) = pack(high);
#else
        at[0] = pack_float(turned[0]);
        at[HALF] = pack_float(high[0]);
#endif
    }
}

// Cosine and sine of a float32 angle in radians, at least 0, to about 1e-7: turns and their fraction in float64, then two polynomials on an eighth of a turn.
__device__ __forceinline__ float2 cosine_and_sine(float angle) {
    double turns = (double)angle * 0.15915494309189535, quarters = turns * 4.0 + 0.5;
    long long quarter = (long long)quarters;
    float x = (float)((turns - (double)quarter * 0.25) * 6.283185307179586), y = x * x;
    float s = fmaf(y, 2.6083159809786593e-06f, -1.9810690719168633e-04f);
    s = fmaf(y, s, 8.3330785855650902e-03f);
    s = fmaf(y, s, -1.6666659712791443e-01f);
    s = fmaf(x * y, s, x);
    float c = fmaf(y, 2.4433157118095550e-05f, -1.3887316255998003e-03f);
    c = fmaf(y, c, 4.1666645683646202e-02f);
    c = fmaf(y, c, -5.0000000000000000e-01f);
    c = fmaf(y, c, 1.0f);
    switch (quarter & 3) {
        case 0: return {c, s};
        case 1: return {-s, c};
        case 2: return {-c, -s};
        default: return {s, -c};
    }
}

// frequencies [D/2] -> out [positions, D/2] of (cosine, sine). Grid-stride.
extern "C" __global__ void __launch_bounds__(256) angles_by_position(const float* frequencies, float2* out, int positions) {
    for (int i = blockIdx.x * 256 + threadIdx.x; i < positions * HALF; i += gridDim.x * 256)
        out[i] = cosine_and_sine((float)(i / HALF) * frequencies[i % HALF]);
}

// The angles of each row of a batch, where they depend on the document's length: frequencies [., D/2], the row for a document of L tokens being
// max(L - trained, 0). cu_seqlens [B+1]; count: B; out [T, D/2] of (cosine, sine). Grid (documents, parts of one); rows of no document stay as they are.
extern "C" __global__ void __launch_bounds__(256) angles_by_length(
    const float* frequencies, const int* cu_seqlens, const int* count, float2* out, int trained) {
    int sequences = *count;
    for (int b = blockIdx.x; b < sequences; b += gridDim.x) {
        int first = cu_seqlens[b], length = cu_seqlens[b + 1] - first;
        const float* frequency = frequencies + (long long)(length > trained ? length - trained : 0) * HALF;
        for (int i = blockIdx.y * 256 + threadIdx.x; i < length * HALF; i += gridDim.y * 256)
            out[(long long)first * HALF + i] = cosine_and_sine((float)(i / HALF) * frequency[i % HALF]);
    }
}

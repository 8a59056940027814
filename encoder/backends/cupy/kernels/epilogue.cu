// What a plain product leaves to do: activation(x + bias) (+ residual), in place or not. Memory-bound: every element read and written once.
// Grid-stride over vectors of 16 bytes; WIDTH (columns) is a multiple of VECTOR, or STEP falls to one element.
#include "activation.cuh"

#if WIDTH % VECTOR == 0
#define STEP VECTOR
#else
#define STEP 1
#endif

// x, out [rows, WIDTH]; bias [WIDTH] or null; residual [rows, WIDTH] or null
extern "C" __global__ void __launch_bounds__(256) epilogue(
    const stored* x, const float* bias, const stored* residual, stored* out, int rows) {
    long long pieces = (long long)rows * (WIDTH / STEP), stride = (long long)gridDim.x * blockDim.x;
    for (long long p = (long long)blockIdx.x * blockDim.x + threadIdx.x; p < pieces; p += stride) {
        long long at = p * STEP;
        int c = (int)(p % (WIDTH / STEP)) * STEP;
#if STEP > 1
        float v[STEP], r[STEP];
        unpack(*(const Packed*)(x + at), v);
        if (residual) unpack(*(const Packed*)(residual + at), r);
#pragma unroll
        for (int i = 0; i < STEP; ++i) {
            v[i] = activate(v[i] + (bias ? bias[c + i] : 0.0f));
            if (residual) v[i] += r[i];
        }
        *(Packed*)(out + at) = pack(v);
#else
        float y = activate(unpack_float(x[at]) + (bias ? bias[c] : 0.0f));
        out[at] = pack_float(residual ? y + unpack_float(residual[at]) : y);
#endif
    }
}

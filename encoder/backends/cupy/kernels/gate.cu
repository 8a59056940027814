// activation(gate) * up, after one product gave both. Memory-bound: 2 WIDTH values read, WIDTH written, a row.
#include "activation.cuh"

#if WIDTH % VECTOR == 0
#define STEP VECTOR
#else
#define STEP 1
#endif

// x [rows, 2 WIDTH]: gate, then up; bias [2 WIDTH] or null -> out [rows, WIDTH]
extern "C" __global__ void __launch_bounds__(256) gate(const stored* x, const float* bias, stored* out, int rows) {
    long long pieces = (long long)rows * (WIDTH / STEP), stride = (long long)gridDim.x * blockDim.x;
    for (long long p = (long long)blockIdx.x * blockDim.x + threadIdx.x; p < pieces; p += stride) {
        long long row = p / (WIDTH / STEP);
        int c = (int)(p % (WIDTH / STEP)) * STEP;
        const stored* from = x + row * 2 * WIDTH + c;
        float opened[STEP], held[STEP];
#if STEP > 1
        unpack(*(const Packed*)from, opened);
        unpack(*(const Packed*)(from + WIDTH), held);
#else
        opened[0] = unpack_float(from[0]);
        held[0] = unpack_float(from[WIDTH]);
#endif
#pragma unroll
        for (int i = 0; i < STEP; ++i) opened[i] = activate(opened[i] + (bias ? bias[c + i] : 0.0f)) * (held[i] + (bias ? bias[WIDTH + c + i] : 0.0f));
#if STEP > 1
        *(Packed*)(out + row * WIDTH + c) = pack(opened);
#else
        out[row * WIDTH + c] = pack_float(opened[0]);
#endif
    }
}

// float32 weights -> stored, on the card: a host's half-precision conversion is the slowest part of loading a model.
#include "storage.cuh"

extern "C" __global__ void __launch_bounds__(256) convert(const float* from, stored* to, long long count) {
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) to[i] = pack_float(from[i]);
}

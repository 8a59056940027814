// The activations, in float32. ACTIVATION (a define): 0 none, 1 gelu (erf), 2 gelu_new (tanh), 3 relu, 4 tanh, 5 silu.
#pragma once
#include "storage.cuh"

#ifndef ACTIVATION
#define ACTIVATION 0
#endif

#define LOG2_E 1.4426950408889634f

__device__ __forceinline__ float tanh_of(float x) {
    float e = exp_2(-2.0f * LOG2_E * fabsf(x));
    float t = (1.0f - e) * reciprocal(1.0f + e);
    return x < 0.0f ? -t : t;
}

// x * Phi(x), written max(x, 0) - |x| * Phi(-|x|) so that the small tail keeps its digits.
#if STORAGE == 32
// erfc by a Chebyshev fit with relative error 1.2e-7 (Numerical Recipes, erfcc).
__device__ __forceinline__ float gelu_tail(float z) {
    float y = z * 0.70710678118654752f, t = 1.0f / (1.0f + 0.5f * y);
    float p = 0.17087277f;
    p = fmaf(p, t, -0.82215223f);
    p = fmaf(p, t, 1.48851587f);
    p = fmaf(p, t, -1.13520398f);
    p = fmaf(p, t, 0.27886807f);
    p = fmaf(p, t, -0.18628806f);
    p = fmaf(p, t, 0.09678418f);
    p = fmaf(p, t, 0.37409196f);
    p = fmaf(p, t, 1.00002368f);
    p = fmaf(p, t, -1.26551223f);
    return 0.5f * t * exp_2(LOG2_E * (p - y * y));
}
#elif STORAGE == 116
// As below, to a relative 2.5e-4: a sixteenth of bfloat16's rounding.
__device__ __forceinline__ float gelu_tail(float z) {
    float p = -2.33251879e-04f;
    p = fmaf(p, z, 4.86978008e-03f);
    p = fmaf(p, z, -4.45990339e-02f);
    p = fmaf(p, z, -4.69681069e-01f);
    p = fmaf(p, z, -1.14626080f);
    p = fmaf(p, z, -1.00035910f);
    return exp_2(p);
}
#else
// log2 Phi(-z) as a polynomial (our own minimax fit on 0 .. 5.5; it falls without end beyond): Phi(-z) to a relative 5.5e-6, a ninetieth of
// float16's rounding, with one exp2 and no division.
__device__ __forceinline__ float gelu_tail(float z) {
    float p = -1.7934891e-06f;
    p = fmaf(p, z, 6.0904789e-05f);
    p = fmaf(p, z, -9.2603330e-04f);
    p = fmaf(p, z, 8.4937718e-03f);
    p = fmaf(p, z, -5.3937871e-02f);
    p = fmaf(p, z, -4.5848048e-01f);
    p = fmaf(p, z, -1.15124679f);
    p = fmaf(p, z, -0.99999547f);
    return exp_2(p);
}
#endif

__device__ __forceinline__ float gelu(float x) {
    float z = fabsf(x);
    return fmaf(-z, gelu_tail(z), fmaxf(x, 0.0f));
}

__device__ __forceinline__ float activate(float x) {
#if ACTIVATION == 1
    return gelu(x);
#elif ACTIVATION == 2
    return 0.5f * x * (1.0f + tanh_of(0.7978845608028654f * (x + 0.044715f * x * x * x)));
#elif ACTIVATION == 3
    return fmaxf(x, 0.0f);
#elif ACTIVATION == 4
    return tanh_of(x);
#elif ACTIVATION == 5
    return x * reciprocal(1.0f + exp_2(-LOG2_E * x));
#else
    return x;
#endif
}

// The activations, in float32. ACTIVATION (a define): 0 none, 1 gelu (erf), 2 gelu_new (tanh), 3 relu, 4 tanh.
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

// erfc(z) for z >= 0. In float32 a Chebyshev fit with relative error 1.2e-7 (Numerical Recipes, erfcc); in 16 bits the shorter
// Abramowitz & Stegun 7.1.26 (absolute error 1.5e-7), a thousandth of what the storage rounds away.
__device__ __forceinline__ float erfc_positive(float z) {
#if STORAGE == 32
    float t = 1.0f / (1.0f + 0.5f * z);
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
    return t * exp_2(LOG2_E * (p - z * z));
#else
    float t = reciprocal(fmaf(0.3275911f, z, 1.0f));
    float p = 1.061405429f;
    p = fmaf(p, t, -1.453152027f);
    p = fmaf(p, t, 1.421413741f);
    p = fmaf(p, t, -0.284496736f);
    p = fmaf(p, t, 0.254829592f);
    return p * t * exp_2(-LOG2_E * z * z);
#endif
}

// x * Phi(x): for x < 0 from erfc itself, so that the small tail keeps its digits.
__device__ __forceinline__ float gelu(float x) {
    float half_tail = 0.5f * erfc_positive(fabsf(x) * 0.70710678118654752f);
    return x * (x < 0.0f ? half_tail : 1.0f - half_tail);
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
#else
    return x;
#endif
}

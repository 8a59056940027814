// How activations are stored and what differs between CUDA and HIP. Everything is computed in float32.
//
// STORAGE (a define): 32 float32, 16 float16, 116 bfloat16 (kept as its 16 bits: not every CuPy knows the type).
// No headers: the same text goes through NVRTC, hiprtc and clang -x hip.
#pragma once

#ifndef STORAGE
#define STORAGE 16
#endif

#define LANES 32  // a row belongs to 32 lanes on every card; a 64-wide AMD wave simply holds two rows

#if defined(__HIP__) || defined(__HIPCC_RTC__)
#define ON_HIP 1
#else
#define ON_HIP 0
#endif

typedef unsigned short bits16;
typedef unsigned int bits32;

#if STORAGE == 32
typedef float stored;
#define VECTOR 4
#else
typedef bits16 stored;
#define VECTOR 8
#endif

#if STORAGE == 116
#define PACK_TWO "cvt.rn.bf16x2.f32 %0, %1, %2;"  // the first operand is the upper half
#else
#define PACK_TWO "cvt.rn.f16x2.f32 %0, %1, %2;"
#endif

union FloatBits { float value; bits32 bits; };

__device__ __forceinline__ float unpack_float(stored s) {
#if STORAGE == 32
    return s;
#elif STORAGE == 116
    FloatBits u; u.bits = (bits32)s << 16; return u.value;
#elif ON_HIP
    union { bits16 bits; _Float16 value; } u; u.bits = s; return (float)u.value;
#else
    float f; asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(s)); return f;
#endif
}

// Round to nearest even, as the hardware's own conversions do.
__device__ __forceinline__ stored pack_float(float f) {
#if STORAGE == 32
    return f;
#elif STORAGE == 116 && !ON_HIP
    bits16 s; asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(s) : "f"(f)); return s;
#elif STORAGE == 116
    FloatBits u; u.value = f;
    if ((u.bits & 0x7fffffffu) > 0x7f800000u) return (bits16)((u.bits >> 16) | 0x40u);  // NaN stays NaN
    return (bits16)((u.bits + 0x7fffu + ((u.bits >> 16) & 1u)) >> 16);
#elif ON_HIP
    union { bits16 bits; _Float16 value; } u; u.value = (_Float16)f; return u.bits;
#else
    bits16 s; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(s) : "f"(f)); return s;
#endif
}

// 16 bytes at once: VECTOR stored values. Rows start on 16 bytes wherever WIDTH is a multiple of VECTOR.
struct alignas(16) Packed { bits32 word[4]; };

__device__ __forceinline__ void unpack(const Packed& from, float (&to)[VECTOR]) {
#pragma unroll
    for (int w = 0; w < 4; ++w) {
#if STORAGE == 32
        FloatBits u; u.bits = from.word[w]; to[w] = u.value;
#else
        to[2 * w] = unpack_float((stored)(from.word[w] & 0xffffu));
        to[2 * w + 1] = unpack_float((stored)(from.word[w] >> 16));
#endif
    }
}

__device__ __forceinline__ Packed pack(const float (&from)[VECTOR]) {
    Packed to;
#pragma unroll
    for (int w = 0; w < 4; ++w) {
#if STORAGE == 32
        FloatBits u; u.value = from[w]; to.word[w] = u.bits;
#elif ON_HIP
        to.word[w] = (bits32)pack_float(from[2 * w]) | ((bits32)pack_float(from[2 * w + 1]) << 16);
#else
        asm(PACK_TWO : "=r"(to.word[w]) : "f"(from[2 * w + 1]), "f"(from[2 * w]));
#endif
    }
    return to;
}

__device__ __forceinline__ float lanes_xor(float v, int mask) {
#if ON_HIP
    return __shfl_xor(v, mask);
#else
    return __shfl_xor_sync(0xffffffffu, v, mask);
#endif
}

// Sums and maxima over the 32 lanes of a row; the order is always the same, so the bits are too.
__device__ __forceinline__ float lanes_sum(float v) {
    for (int mask = LANES / 2; mask > 0; mask >>= 1) v += lanes_xor(v, mask);
    return v;
}

__device__ __forceinline__ float lanes_max(float v) {
    for (int mask = LANES / 2; mask > 0; mask >>= 1) v = fmaxf(v, lanes_xor(v, mask));
    return v;
}

__device__ __forceinline__ float exp_2(float x) {
#if ON_HIP
    return __builtin_amdgcn_exp2f(x);
#else
    float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y;
#endif
}

__device__ __forceinline__ float reciprocal(float x) {
#if ON_HIP || STORAGE == 32
    return 1.0f / x;
#else
    float y; asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y;
#endif
}

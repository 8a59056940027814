/* Vectors of VW floats, 8 (AVX2) or 16 (AVX-512), by one set of names. Every multiply-add is written as one: no compiler contracts anything here. */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

#if VW == 16
typedef __m512 vf;
typedef __m512i vi;
INLINE vf v_load(const float *p) { return _mm512_loadu_ps(p); }
INLINE void v_store(float *p, vf x) { _mm512_storeu_ps(p, x); }
INLINE vf v_load_some(const float *p, int64_t n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
INLINE void v_store_some(float *p, vf x, int64_t n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), x); }
INLINE vf v_set(float x) { return _mm512_set1_ps(x); }
INLINE vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
INLINE vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
INLINE vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
INLINE vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
INLINE vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }
INLINE vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
INLINE vf v_abs(vf a) { return _mm512_abs_ps(a); }
INLINE vf v_first(vf x, int64_t n, vf other) { return _mm512_mask_blend_ps((__mmask16)((1u << n) - 1), other, x); }
INLINE vi v_bits(vf a) { return _mm512_castps_si512(a); }
INLINE vf v_of_bits(vi a) { return _mm512_castsi512_ps(a); }
INLINE vi v_int(int32_t x) { return _mm512_set1_epi32(x); }
INLINE vi v_int_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
INLINE vi v_int_sub(vi a, vi b) { return _mm512_sub_epi32(a, b); }
INLINE vi v_shift_left(vi a, int n) { return _mm512_slli_epi32(a, n); }
INLINE vi v_load_int(const int32_t *p) { return _mm512_loadu_si512(p); }
INLINE vf v_float(vi a) { return _mm512_cvtepi32_ps(a); }
INLINE vi v_round(vf a) { return _mm512_cvtps_epi32(a); }
#else
typedef __m256 vf;
typedef __m256i vi;
INLINE __m256i v_mask(int64_t n) {
    static const int32_t ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
    return _mm256_loadu_si256((const __m256i *)(ones + 8 - n));
}
INLINE vf v_load(const float *p) { return _mm256_loadu_ps(p); }
INLINE void v_store(float *p, vf x) { _mm256_storeu_ps(p, x); }
INLINE vf v_load_some(const float *p, int64_t n) { return _mm256_maskload_ps(p, v_mask(n)); }
INLINE void v_store_some(float *p, vf x, int64_t n) { _mm256_maskstore_ps(p, v_mask(n), x); }
INLINE vf v_set(float x) { return _mm256_set1_ps(x); }
INLINE vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
INLINE vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
INLINE vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
INLINE vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
INLINE vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
INLINE vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); }
INLINE vf v_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
INLINE vf v_first(vf x, int64_t n, vf other) { return _mm256_blendv_ps(other, x, _mm256_castsi256_ps(v_mask(n))); }
INLINE vi v_bits(vf a) { return _mm256_castps_si256(a); }
INLINE vf v_of_bits(vi a) { return _mm256_castsi256_ps(a); }
INLINE vi v_int(int32_t x) { return _mm256_set1_epi32(x); }
INLINE vi v_int_add(vi a, vi b) { return _mm256_add_epi32(a, b); }
INLINE vi v_int_sub(vi a, vi b) { return _mm256_sub_epi32(a, b); }
INLINE vi v_shift_left(vi a, int n) { return _mm256_slli_epi32(a, n); }
INLINE vi v_load_int(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
INLINE vf v_float(vi a) { return _mm256_cvtepi32_ps(a); }
INLINE vi v_round(vf a) { return _mm256_cvtps_epi32(a); }
#endif

/* Lanes are added and compared in one fixed order, whatever the width of the vector. */
INLINE float v_sum(vf x) {
    float lanes[VW], sum = 0;
    v_store(lanes, x);
    for (int i = 0; i < VW; i++) sum += lanes[i];
    return sum;
}
/* v_sum of four vectors at once. */
INLINE __m128 v_four_sums(const vf *x) {
    float lanes[4][VW];
    __m128 sum = _mm_setzero_ps();
    for (int r = 0; r < 4; r++) v_store(lanes[r], x[r]);
    for (int i = 0; i < VW; i += 4) {
        __m128 a = _mm_loadu_ps(lanes[0] + i), b = _mm_loadu_ps(lanes[1] + i), c = _mm_loadu_ps(lanes[2] + i), d = _mm_loadu_ps(lanes[3] + i);
        _MM_TRANSPOSE4_PS(a, b, c, d);
        sum = _mm_add_ps(_mm_add_ps(_mm_add_ps(_mm_add_ps(sum, a), b), c), d);
    }
    return sum;
}
INLINE float v_largest(vf x) {
#if VW == 16
    __m256 half = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
#else
    __m256 half = x;
#endif
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_shuffle_ps(four, four, 1)));
}

INLINE float v_least(vf x) {
    float lanes[VW], least;
    v_store(lanes, x);
    least = lanes[0];
    for (int i = 1; i < VW; i++) least = lanes[i] < least ? lanes[i] : least;
    return least;
}

/* n floats, then `other` in every further lane. */
INLINE vf v_load_rest(const float *p, int64_t n, float other) {
    float lanes[VW];
    for (int i = 0; i < VW; i++) lanes[i] = i < n ? p[i] : other;
    return v_load(lanes);
}

/* e^x to 2 ulp; below -87 it is e^-87, above 88 e^88. NaN stays NaN. */
INLINE vf v_exp(vf x) {
    const vf magic = v_set(12582912.0f);
    x = v_min(v_set(88.0f), v_max(v_set(-87.0f), x)); /* the second operand is returned for NaN */
    vf shifted = v_fma(x, v_set(1.44269504088896341f), magic), n = v_sub(shifted, magic);
    vf r = v_fma(n, v_set(-0.693359375f), x);
    r = v_fma(n, v_set(2.12194440e-4f), r);
    vf p = v_set(1.9875691500e-4f);
    p = v_fma(p, r, v_set(1.3981999507e-3f));
    p = v_fma(p, r, v_set(8.3334519073e-3f));
    p = v_fma(p, r, v_set(4.1665795894e-2f));
    p = v_fma(p, r, v_set(1.6666665459e-1f));
    p = v_fma(p, r, v_set(5.0000001201e-1f));
    p = v_fma(v_mul(r, r), p, v_add(r, v_set(1.0f)));
    vi power = v_shift_left(v_int_add(v_int_sub(v_bits(shifted), v_bits(magic)), v_int(127)), 23);
    return v_mul(p, v_of_bits(power));
}

/* x Phi(x) to 5e-7 |x|: the polynomial of activations.py. */
INLINE vf v_gelu(vf x) {
    const vf size = v_abs(x);
    vf p = v_set(2.4208151714992622e-06f);
    p = v_fma(p, size, v_set(-1.0732087938861813e-05f));
    p = v_fma(p, size, v_set(6.938526102824711e-05f));
    p = v_fma(p, size, v_set(0.00017902159825727338f));
    p = v_fma(p, size, v_set(0.0008919707884025735f));
    p = v_fma(p, size, v_set(0.008654066687970046f));
    p = v_fma(p, size, v_set(0.044767454855077146f));
    p = v_fma(p, size, v_set(0.0997351242029867f));
    p = v_fma(p, size, v_set(1.0000000060780643f));
    p = v_mul(p, p);
    p = v_mul(p, p);
    p = v_mul(p, p);
    return v_mul(v_sub(v_add(x, size), v_div(size, p)), v_set(0.5f));
}

INLINE vf v_tanh(vf x) { return v_sub(v_set(1.0f), v_div(v_set(2.0f), v_add(v_exp(v_add(x, x)), v_set(1.0f)))); }

INLINE vf v_gelu_new(vf x) {
    vf inner = v_mul(v_mul(v_fma(v_mul(x, x), v_set(0.044715f), v_set(1.0f)), x), v_set(0.7978845608028654f));
    return v_mul(v_mul(x, v_set(0.5f)), v_add(v_tanh(inner), v_set(1.0f)));
}

INLINE vf v_silu(vf x) { return v_div(x, v_add(v_exp(v_sub(v_set(0.0f), x)), v_set(1.0f))); }

/* The numbers are those of ACTIVATIONS in linear.py. */
INLINE vf v_activate(vf x, int32_t activation) {
    switch (activation) {
    case 1: return v_gelu(x);
    case 2: return v_gelu_new(x);
    case 3: return v_max(v_set(0.0f), x);
    case 4: return v_silu(x);
    case 5: return v_tanh(x);
    default: return x;
    }
}

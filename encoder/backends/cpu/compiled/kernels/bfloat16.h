/* Sixteen float32 to bfloat16, to the nearest, ties to even. */
INLINE void store_bfloat16(char *out, vf x) {
    vi bits = v_bits(x), odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    bits = _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
    _mm256_storeu_si256((__m256i *)out, _mm512_cvtepi32_epi16(bits));
}

/* Sixty-four numbers from 0 to 255 as bytes. */
INLINE void store_line(char *out, const int32_t *values) {
    for (int i = 0; i < 64; i += 16) _mm_storeu_si128((__m128i *)(out + i), _mm512_cvtepi32_epi8(_mm512_loadu_si512(values + i)));
}

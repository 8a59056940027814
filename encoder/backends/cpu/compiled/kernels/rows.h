/* What a layer does beside its products, in float32: LayerNorm, and attention of one document at a time. Every sum runs in one order that depends on
nothing but the length of the document and the size of the row. */

/* y = LayerNorm(x + residual). x, residual, y: [rows, size]; residual and beta may be NULL, y may be x or residual. */
void NAME(layer_norm)(const float *x, const float *residual, const float *gamma, const float *beta, float eps, int64_t size, int64_t rows, float *y) {
    const int64_t whole = size / VW * VW, rest = size - whole;
    for (int64_t row = 0; row < rows; row++, x += size, y += size) {
        vf total = v_set(0), squares = v_set(0);
        for (int64_t i = 0; i < size; i += VW) {
            const int some = i == whole;
            vf value = some ? v_load_some(x + i, rest) : v_load(x + i);
            if (residual) value = v_add(value, some ? v_load_some(residual + i, rest) : v_load(residual + i));
            total = v_add(total, value);
            if (some) v_store_some(y + i, value, rest);
            else v_store(y + i, value);
        }
        if (residual) residual += size;
        const vf mean = v_set(v_sum(total) / (float)size);
        for (int64_t i = 0; i < whole; i += VW) {
            vf value = v_sub(v_load(y + i), mean);
            squares = v_fma(value, value, squares);
            v_store(y + i, value);
        }
        if (rest) {
            v_store_some(y + whole, v_sub(v_load_some(y + whole, rest), mean), rest);
            vf value = v_load_some(y + whole, rest);
            squares = v_fma(value, value, squares);
        }
        const vf share = v_set(1.0f / __builtin_sqrtf(v_sum(squares) / (float)size + eps));
        for (int64_t i = 0; i < size; i += VW) {
            const int some = i == whole;
            vf value = v_mul(some ? v_load_some(y + i, rest) : v_load(y + i), share);
            vf by = some ? v_load_some(gamma + i, rest) : v_load(gamma + i);
            value = beta ? v_fma(value, by, some ? v_load_some(beta + i, rest) : v_load(beta + i)) : v_mul(value, by);
            if (some) v_store_some(y + i, value, rest);
            else v_store(y + i, value);
        }
    }
}

/* Rows of a document that are computed side by side: their sums hide each other's latency. */
#if VW == 16
#define SIDE 8
#else
#define SIDE 4
#endif

/* SIDE rows of x times two vectors of columns: out[SIDE][2 VW] = x[SIDE][inner] y[inner][2 VW]. */
INLINE void side_by_side(const float *x, int64_t x_pitch, const float *y, int64_t y_pitch, int64_t inner, float *out, int64_t out_pitch) {
    vf sum[SIDE][2];
#pragma GCC unroll 8
    for (int i = 0; i < SIDE; i++) sum[i][0] = sum[i][1] = v_set(0);
    for (int64_t k = 0; k < inner; k++) {
        const vf left = v_load(y + k * y_pitch), right = v_load(y + k * y_pitch + VW);
#pragma GCC unroll 8
        for (int i = 0; i < SIDE; i++) {
            const vf one = v_set(x[i * x_pitch + k]);
            sum[i][0] = v_fma(one, left, sum[i][0]);
            sum[i][1] = v_fma(one, right, sum[i][1]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < SIDE; i++) {
        v_store(out + i * out_pitch, sum[i][0]);
        v_store(out + i * out_pitch + VW, sum[i][1]);
    }
}

/* exp(scores - the largest) of SIDE rows in place, `length` of each; share: 1 / the sum of each. */
INLINE void soften(float *scores, int64_t pitch, int64_t length, float *share) {
    const int64_t whole = length / VW * VW, rest = length - whole;
    vf most[SIDE], total[SIDE];
#pragma GCC unroll 8
    for (int r = 0; r < SIDE; r++) most[r] = rest ? v_first(v_load(scores + r * pitch + whole), rest, v_set(-3e38f)) : v_set(-3e38f);
    for (int64_t i = 0; i < whole; i += VW)
#pragma GCC unroll 8
        for (int r = 0; r < SIDE; r++) most[r] = v_max(most[r], v_load(scores + r * pitch + i));
#pragma GCC unroll 8
    for (int r = 0; r < SIDE; r++) {
        most[r] = v_set(v_largest(most[r]));
        total[r] = v_set(0);
    }
    for (int64_t i = 0; i < whole; i += VW)
#pragma GCC unroll 8
        for (int r = 0; r < SIDE; r++) {
            const vf weight = v_exp(v_sub(v_load(scores + r * pitch + i), most[r]));
            v_store(scores + r * pitch + i, weight);
            total[r] = v_add(total[r], weight);
        }
    if (rest)
#pragma GCC unroll 8
        for (int r = 0; r < SIDE; r++) {
            const vf weight = v_exp(v_sub(v_load(scores + r * pitch + whole), most[r]));
            v_store(scores + r * pitch + whole, weight);
            total[r] = v_add(total[r], v_first(weight, rest, v_set(0)));
        }
    for (int r = 0; r < SIDE; r += 4) {
        __m128 sums = v_four_sums(total + r);
        _mm_storeu_ps(share + r, _mm_div_ps(_mm_set1_ps(1.0f), sums));
    }
}

#define PAD(n) (((n) + 2 * VW - 1) / (2 * VW) * (2 * VW))

/* Floats of scratch that `attention` wants. */
int64_t NAME(attention_scratch)(int64_t length, int64_t dim) { return PAD(length) * (dim + SIDE) + (length + SIDE) * PAD(dim) + SIDE * dim; }

/* softmax(q k^T scale) v of one document. qkv: [length, 3, heads, dim]; context: [length, heads, dim]. */
static void NAME(document)(const float *qkv, int64_t length, int64_t heads, int64_t dim, float scale, float *context, float *scratch) {
    const int64_t padded = PAD(length), wide = PAD(dim), pitch = 3 * heads * dim;
    float *keys = scratch, *scores = keys + padded * dim, *values = scores + SIDE * padded, *results = values + length * wide, *queries = results + SIDE * wide;
    for (int64_t head = 0; head < heads; head++) {
        const float *q = qkv + head * dim, *k = q + heads * dim, *v = k + heads * dim;
        for (int64_t block = 0; block < padded; block += 2 * VW) { /* keys: [blocks][dim][2 VW] */
            const int64_t some = length - block < 2 * VW ? length - block : 2 * VW;
            for (int64_t d = 0; d < dim; d++) {
                float *to = keys + block * dim + d * 2 * VW;
                for (int64_t j = 0; j < some; j++) to[j] = k[(block + j) * pitch + d];
                for (int64_t j = some; j < 2 * VW; j++) to[j] = 0;
            }
        }
        for (int64_t j = 0; j < length; j++) {
            memcpy(values + j * wide, v + j * pitch, sizeof(float) * dim);
            for (int64_t d = dim; d < wide; d++) values[j * wide + d] = 0;
        }
        for (int64_t first = 0; first < length; first += SIDE) {
            const int64_t count = length - first < SIDE ? length - first : SIDE;
            float share[SIDE];
            for (int64_t i = 0; i < SIDE; i++)
                for (int64_t d = 0; d < dim; d++) queries[i * dim + d] = i < count ? q[(first + i) * pitch + d] * scale : 0;
            for (int64_t j = 0; j < padded; j += 2 * VW) side_by_side(queries, dim, keys + j * dim, 2 * VW, dim, scores + j, padded);
            soften(scores, padded, length, share);
            for (int64_t d = 0; d < wide; d += 2 * VW) side_by_side(scores, padded, values + d, wide, length, results + d, wide);
            for (int64_t i = 0; i < count; i++)
                for (int64_t d = 0; d < dim; d++) context[((first + i) * heads + head) * dim + d] = results[i * wide + d] * share[i];
        }
    }
}

/* Each document by itself: document i has lengths[i] rows from starts[i] on of qkv [rows, 3, heads, dim] and of context [rows, heads, dim]. */
void NAME(attention)(const float *qkv, const int64_t *starts, const int64_t *lengths, int64_t documents, int64_t heads, int64_t dim, float scale, float *context, float *scratch) {
    const int64_t width = heads * dim;
    for (int64_t i = 0; i < documents; i++)
        NAME(document)(qkv + starts[i] * 3 * width, lengths[i], heads, dim, scale, context + starts[i] * width, scratch);
}

/* act(gate) * up, [count] each, into gate. */
void NAME(multiply)(float *gate, const float *up, int64_t count) {
    int64_t i = 0;
    for (; i + VW <= count; i += VW) v_store(gate + i, v_mul(v_load(gate + i), v_load(up + i)));
    for (; i < count; i++) gate[i] *= up[i];
}

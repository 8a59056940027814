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

/* Four rows of x times two vectors of columns: out[4][2 VW] = x[4][inner] y[inner][2 VW]. */
INLINE void four_rows(const float *x, int64_t x_pitch, const float *y, int64_t y_pitch, int64_t inner, float *out, int64_t out_pitch) {
    vf sum[4][2];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) sum[i][0] = sum[i][1] = v_set(0);
    for (int64_t k = 0; k < inner; k++) {
        const vf left = v_load(y + k * y_pitch), right = v_load(y + k * y_pitch + VW);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            const vf one = v_set(x[i * x_pitch + k]);
            sum[i][0] = v_fma(one, left, sum[i][0]);
            sum[i][1] = v_fma(one, right, sum[i][1]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        v_store(out + i * out_pitch, sum[i][0]);
        v_store(out + i * out_pitch + VW, sum[i][1]);
    }
}

/* exp(scores - the largest) in place, 0 from `length` to `padded`; returns 1 / sum. */
INLINE float soften(float *scores, int64_t length, int64_t padded) {
    for (int64_t i = length; i < padded; i++) scores[i] = -3e38f;
    vf most = v_load(scores), total = v_set(0);
    for (int64_t i = VW; i < padded; i += VW) most = v_max(most, v_load(scores + i));
    most = v_set(v_largest(most));
    for (int64_t i = 0; i < padded; i += VW) v_store(scores + i, v_exp(v_sub(v_load(scores + i), most)));
    for (int64_t i = length; i < padded; i++) scores[i] = 0;
    for (int64_t i = 0; i < padded; i += VW) total = v_add(total, v_load(scores + i));
    return 1.0f / v_sum(total);
}

#define PAD(n) (((n) + 2 * VW - 1) / (2 * VW) * (2 * VW))

/* Floats of scratch that `attention` wants. */
int64_t NAME(attention_scratch)(int64_t length, int64_t dim) { return PAD(length) * (dim + 4) + (length + 4) * PAD(dim) + 4 * dim; }

/* softmax(q k^T scale) v of one document. qkv: [length, 3, heads, dim]; context: [length, heads, dim]. */
static void NAME(document)(const float *qkv, int64_t length, int64_t heads, int64_t dim, float scale, float *context, float *scratch) {
    const int64_t padded = PAD(length), wide = PAD(dim), pitch = 3 * heads * dim;
    float *keys = scratch, *scores = keys + padded * dim, *values = scores + 4 * padded, *results = values + length * wide, *queries = results + 4 * wide;
    for (int64_t head = 0; head < heads; head++) {
        const float *q = qkv + head * dim, *k = q + heads * dim, *v = k + heads * dim;
        for (int64_t j = 0; j < length; j++)
            for (int64_t d = 0; d < dim; d++) keys[d * padded + j] = k[j * pitch + d];
        for (int64_t d = 0; d < dim; d++)
            for (int64_t j = length; j < padded; j++) keys[d * padded + j] = 0;
        for (int64_t j = 0; j < length; j++) {
            memcpy(values + j * wide, v + j * pitch, sizeof(float) * dim);
            for (int64_t d = dim; d < wide; d++) values[j * wide + d] = 0;
        }
        for (int64_t first = 0; first < length; first += 4) {
            const int64_t count = length - first < 4 ? length - first : 4;
            float share[4];
            for (int64_t i = 0; i < 4; i++)
                for (int64_t d = 0; d < dim; d++) queries[i * dim + d] = i < count ? q[(first + i) * pitch + d] * scale : 0;
            for (int64_t j = 0; j < padded; j += 2 * VW) four_rows(queries, dim, keys + j, padded, dim, scores + j, padded);
            for (int64_t i = 0; i < 4; i++) share[i] = soften(scores + i * padded, length, padded);
            for (int64_t d = 0; d < wide; d += 2 * VW) four_rows(scores, padded, values + d, wide, length, results + d, wide);
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

// softmax(q k^T / sqrt(D) + bias) v inside each document, or inside a window around each query, in float32 on general units: correct on every card, fast on none.
// Block (32, 8): a tile of TILE_ROWS query rows of one head, 16 at a time; each 32 lanes own two of them. Keys come 32 at a time through shared memory:
// a lane scores one key, then owns HEAD_DIM / 32 columns of the output. The order over keys depends on the document alone.
// WINDOW (a define): a query sees the keys with |k - q| <= WINDOW. BIAS_RADIUS, R (a define): bias[h, clip(k - q, -R, R) + R] is added to the scores.
#include "storage.cuh"

#define KEYS 32
#include "attention_span.cuh"
#ifdef BIAS_RADIUS
#define BIAS_PARAMETER , const float* bias
#else
#define BIAS_PARAMETER
#endif
#define GROUPS 8
#define BLOCK_ROWS 16  // two rows per group
#ifndef TILE_ROWS
#define TILE_ROWS BLOCK_ROWS
#endif
#define PER_LANE ((HEAD_DIM + LANES - 1) / LANES)

// qkv [T, 3, H, HEAD_DIM]; tiles [n] of (first row of the document, its length, first query row inside it, 0); count: n; out [T, H, HEAD_DIM];
// bias, if there is one: [H, 2 R + 1], times log2 e
extern "C" __global__ void __launch_bounds__(256) attention(
    const stored* qkv, const int4* tiles, const int* count, stored* out, int num_heads, float scale_log2 BIAS_PARAMETER) {
    __shared__ float keys[KEYS][HEAD_DIM + 1], values[KEYS][HEAD_DIM], queries[BLOCK_ROWS][HEAD_DIM];
    int lane = threadIdx.x, group = threadIdx.y, thread = group * LANES + lane;
    long long stride = 3LL * num_heads * HEAD_DIM;
    int parts = TILE_ROWS / BLOCK_ROWS, items = *count * num_heads * parts;
    for (int item = blockIdx.x; item < items; item += gridDim.x) {
        int4 tile = tiles[item / (num_heads * parts)];
        int head = item / parts % num_heads, first = tile.x, length = tile.y, query = tile.z + item % parts * BLOCK_ROWS;
        if (query >= length) continue;
        const stored* base = qkv + first * stride + head * HEAD_DIM;
        __syncthreads();
        for (int i = thread; i < BLOCK_ROWS * HEAD_DIM; i += 256) {
            int r = query + i / HEAD_DIM;
            queries[i / HEAD_DIM][i % HEAD_DIM] = r < length ? unpack_float(base[r * stride + i % HEAD_DIM]) * scale_log2 : 0.0f;
        }
        float best[2], total[2], sum[2][PER_LANE];
        for (int m = 0; m < 2; ++m) {
            best[m] = -1e30f;
            total[m] = 0.0f;
            for (int d = 0; d < PER_LANE; ++d) sum[m][d] = 0.0f;
        }
        for (int start = first_key(query); start < last_key(query + BLOCK_ROWS, length); start += KEYS) {
            __syncthreads();
            for (int i = thread; i < KEYS * HEAD_DIM; i += 256) {
                int k = start + i / HEAD_DIM, d = i % HEAD_DIM;
                bool inside = k < length;
                keys[i / HEAD_DIM][d] = inside ? unpack_float(base[k * stride + num_heads * HEAD_DIM + d]) : 0.0f;
                values[i / HEAD_DIM][d] = inside ? unpack_float(base[k * stride + 2 * num_heads * HEAD_DIM + d]) : 0.0f;
            }
            __syncthreads();
            for (int m = 0; m < 2; ++m) {
                const float* q = queries[group * 2 + m];
                float score = 0.0f;
                for (int d = 0; d < HEAD_DIM; ++d) score = fmaf(q[d], keys[lane][d], score);
#if defined(WINDOW) || defined(BIAS_RADIUS)
                int distance = start + lane - (query + group * 2 + m);
#endif
#ifdef BIAS_RADIUS
                int near = distance < -BIAS_RADIUS ? -BIAS_RADIUS : distance > BIAS_RADIUS ? BIAS_RADIUS : distance;
                score += bias[head * (2 * BIAS_RADIUS + 1) + near + BIAS_RADIUS];
#endif
#ifdef WINDOW
                if (distance < -WINDOW || distance > WINDOW) score = -1e30f;
#endif
                if (start + lane >= length) score = -1e30f;
                float top = fmaxf(best[m], lanes_max(score));
                float keep = exp_2(best[m] - top), weight = exp_2(score - top);
                best[m] = top;
                total[m] = fmaf(total[m], keep, lanes_sum(weight));
                for (int d = 0; d < PER_LANE; ++d) sum[m][d] *= keep;
                for (int k = 0; k < KEYS; ++k) {
#if ON_HIP
                    float w = __shfl(weight, k, LANES);
#else
                    float w = __shfl_sync(0xffffffffu, weight, k);
#endif
                    for (int d = 0; d < PER_LANE; ++d)
                        if (d * LANES + lane < HEAD_DIM) sum[m][d] = fmaf(w, values[k][d * LANES + lane], sum[m][d]);
                }
            }
        }
        for (int m = 0; m < 2; ++m) {
            int r = query + group * 2 + m;
            if (r >= length) continue;
            stored* row = out + ((long long)(first + r) * num_heads + head) * HEAD_DIM;
            float inverse = 1.0f / total[m];
            for (int d = 0; d < PER_LANE; ++d)
                if (d * LANES + lane < HEAD_DIM) row[d * LANES + lane] = pack_float(sum[m][d] * inverse);
        }
    }
}

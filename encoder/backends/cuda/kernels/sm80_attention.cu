// softmax(q k^T / sqrt(D) + bias) v inside each document, or inside a window around each query, on tensor cores (mma.sync m16n8k16, sm_80 up), float32 softmax and sums.
// Bound: at 128 tokens by memory (8 E bytes a token), at 512 by mma.sync and exp2.
//
// A block walks over tiles with a fixed stride and keeps one load ahead: while it multiplies one block of KEYS keys, cp.async brings the next one,
// also across the border to its next tile.
// SPLIT (a define): so many blocks share a tile of 128 rows, where the shared memory of one does not hold it.
#define KEYS 64
#ifndef SPLIT
#define SPLIT 1
#endif
#define ROWS (128 / SPLIT)
#ifndef FRAGMENTS
#define FRAGMENTS (HEAD_DIM == 128 ? 1 : 2)  // tiles of 16 rows per warp: two share every key they load, where the registers allow it
#endif
#ifndef BLOCKS
#define BLOCKS (HEAD_DIM == 128 ? 1 : HEAD_DIM == 64 ? 2 : 3)
#endif
#define THREADS (ROWS / (16 * FRAGMENTS) * 32)
#define COPIERS THREADS
#include "attention_tile.cuh"

#if STORAGE == 116
#define MMA_TYPES "bf16.bf16"
#else
#define MMA_TYPES "f16.f16"
#endif

__device__ __forceinline__ void load_transposed(bits32 (&m)[4], bits32 at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3]) : "r"(at));
}

__device__ __forceinline__ void multiply(float* c, const bits32 (&a)[4], bits32 b0, bits32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." MMA_TYPES ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

struct Shared {
    alignas(1024) bits16 queries[2][ROWS * HEAD_DIM];
    alignas(1024) bits16 keys[2][KEYS * HEAD_DIM];
    alignas(1024) bits16 values[2][KEYS * HEAD_DIM];
#ifdef BIAS_RADIUS
    alignas(16) float bias[2][BIAS_FLOATS];  // of a tile's head, with its queries
#endif
};

// A place in the block's walk: a tile, and the block of keys that comes next.
struct Place {
    Tile tile;
    int item, key;

#if SPLIT > 1
    __device__ __forceinline__ Place(const int4* tiles, int num_heads, int items) : item(blockIdx.x) { find(tiles, num_heads, items); }
    // The tile of the item, or of the next that has rows.
    __device__ __forceinline__ void find(const int4* tiles, int num_heads, int items) {
        for (; item < items; item += gridDim.x) {
            tile = tile_of(tiles, item / SPLIT, num_heads);
            tile.query += item % SPLIT * ROWS;
            if (tile.query < tile.length) break;
        }
        key = first_key(tile.query);
    }
#else
    __device__ __forceinline__ Place(const int4* tiles, int num_heads, int items) : tile(tile_of(tiles, blockIdx.x, num_heads)), item(blockIdx.x), key(first_key(tile.query)) {}
#endif
    __device__ __forceinline__ bool first() const { return key == first_key(tile.query); }
    __device__ __forceinline__ bool last() const { return key + KEYS >= last_key(tile.query + ROWS, tile.length); }
    __device__ __forceinline__ void advance(const int4* tiles, int num_heads, int items) {
        if (!last()) { key += KEYS; return; }
        item += gridDim.x;
#if SPLIT > 1
        find(tiles, num_heads, items);
#else
        if (item < items) tile = tile_of(tiles, item, num_heads);
        key = first_key(tile.query);
#endif
    }
};

__device__ __forceinline__ void copy_place(const Copier& copy, Shared& s, int stage, int slot, const Place& p, const bits16* qkv, const float* bias, int num_heads) {
    int width = num_heads * HEAD_DIM, stride = 3 * width;
    const bits16* document = qkv + (long long)p.tile.first * stride + p.tile.head * HEAD_DIM;
    if (p.first()) {
        copy.rows<ROWS>(s.queries[slot], document, stride, p.tile.query, p.tile.length);
#ifdef BIAS_RADIUS
        copy_bias(s.bias[slot], bias, p.tile.head);
#endif
    }
    copy.rows<KEYS>(s.keys[stage], document + width, stride, p.key, p.tile.length);
    copy.rows<KEYS>(s.values[stage], document + 2 * width, stride, p.key, p.tile.length);
    copy_async_commit();
}

// qkv [T, 3, H, D]; tiles [n] of (first row of the document, its length, first query row inside it, 0); count: n; out [T, H, D];
// bias, if there is one: [H, BIAS_FLOATS]
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) attention_mma(
    const bits16* qkv, const int4* tiles, const int* count, bits16* out, int num_heads, float scale_log2 BIAS_PARAMETER) {
    extern __shared__ __align__(1024) unsigned char memory[];
    Shared& s = *reinterpret_cast<Shared*>(memory);
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, items = *count * num_heads * SPLIT;
    int matrix = lane >> 3, matrix_row = lane & 7, warp_row = warp * 16 * FRAGMENTS;

    if (blockIdx.x >= items) return;
    Place now(tiles, num_heads, items);
    if (SPLIT > 1 && now.item >= items) return;
    int stage = 0, slot = 0;
    const Copier copy;
    copy_place(copy, s, stage, slot, now, qkv, BIAS_ARGUMENT, num_heads);
    bits32 q[FRAGMENTS][HEAD_DIM / 16][4];
    Rows rows[FRAGMENTS];

    while (now.item < items) {
        copy_async_wait<0>();
        __syncthreads();
        Place next = now;
        next.advance(tiles, num_heads, items);
        int next_slot = next.item == now.item ? slot : slot ^ 1;
        if (next.item < items) copy_place(copy, s, stage ^ 1, next_slot, next, qkv, BIAS_ARGUMENT, num_heads);

        if (now.tile.query + warp_row < now.tile.length) {  // else this warp has no rows in the tile
            if (now.first()) {
                bits32 base = shared_address(s.queries[slot]);
#pragma unroll
                for (int f = 0; f < FRAGMENTS; ++f) {
                    rows[f].clear();
#pragma unroll
                    for (int k = 0; k < HEAD_DIM / 16; ++k)
                        load_matrices(q[f][k], base + swizzled(warp_row + f * 16 + (matrix & 1) * 8 + matrix_row, k * 2 + (matrix >> 1)));
                }
            }
            int left = now.tile.length - now.key;  // keys of this block that exist
            float score[FRAGMENTS][KEYS / 2];
            int distance = now.key - now.tile.query - warp_row;  // from the first row of this warp's first fragment to the block's first key
            bits32 keys = shared_address(s.keys[stage]), values = shared_address(s.values[stage]);
#pragma unroll
            for (int j = 0; j < KEYS / 16; ++j) {
#pragma unroll
                for (int f = 0; f < FRAGMENTS; ++f)
#ifdef BIAS_RADIUS
                    start_scores<16>(score[f] + 8 * j, s.bias[slot], distance - f * 16 + j * 16);
#else
#pragma unroll
                    for (int i = 0; i < 8; ++i) score[f][8 * j + i] = 0.0f;
#endif
                if (j * 16 >= left) continue;
#pragma unroll
                for (int k = 0; k < HEAD_DIM / 16; ++k) {
                    bits32 b[4];
                    load_matrices(b, keys + swizzled(j * 16 + (matrix >> 1) * 8 + matrix_row, k * 2 + (matrix & 1)));
#pragma unroll
                    for (int f = 0; f < FRAGMENTS; ++f) {
                        multiply(score[f] + 8 * j, q[f][k], b[0], b[1]);
                        multiply(score[f] + 8 * j + 4, q[f][k], b[2], b[3]);
                    }
                }
            }
#pragma unroll
            for (int f = 0; f < FRAGMENTS; ++f) {
                float keep[2];
#ifdef WINDOW
                hide_distant<KEYS>(score[f], distance - f * 16);
#endif
                rows[f].weigh<KEYS>(score[f], keep, left, scale_log2);
                rows[f].scale(keep);
            }
#pragma unroll
            for (int j = 0; j < KEYS / 16; ++j) {
                if (j * 16 >= left) continue;
                bits32 p[FRAGMENTS][4];
#pragma unroll
                for (int f = 0; f < FRAGMENTS; ++f) as_operand(p[f], score[f], j);
#pragma unroll
                for (int d = 0; d < HEAD_DIM / 16; ++d) {
                    bits32 b[4];
                    load_transposed(b, values + swizzled(j * 16 + (matrix & 1) * 8 + matrix_row, d * 2 + (matrix >> 1)));
#pragma unroll
                    for (int f = 0; f < FRAGMENTS; ++f) {
                        multiply(rows[f].sum + 8 * d, p[f], b[0], b[1]);
                        multiply(rows[f].sum + 8 * d + 4, p[f], b[2], b[3]);
                    }
                }
            }
            if (now.last()) {
                __syncwarp();
#pragma unroll
                for (int f = 0; f < FRAGMENTS; ++f) rows[f].write(s.queries[slot], warp_row + f * 16, now.tile, out, num_heads);
            }
        }
        now = next;
        slot = next_slot;
        stage ^= 1;
    }
}

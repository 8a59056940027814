// softmax(q k^T / sqrt(D) + bias) v inside each document, or inside a window around each query, on Hopper's warpgroup products, head dims 32 and 64; float32 softmax and sums.
// Bound: at 128 tokens by memory (8 E bytes a token), at 512 by exp2 beside the products.
//
// A block holds two crews, each with its own walk over tiles: two warps that copy (zero past a document's end, which TMA could not do inside a
// batch), STAGES blocks of keys and values ahead and across tiles, and two warpgroups of 64 query rows each that multiply. A warpgroup starts the
// scores of its next keys together with the sums over its last, and weighs those scores while the sums are still being made: tensor cores do not
// wait for exp2. Two crews in one block rather than two blocks, because registers are handed from those who copy to those who multiply inside a block only.
#define KEYS 64
#define ROWS 128
#define CREWS 2
#define COPIERS 64
#define GROUPS (ROWS / 64)
#define MULTIPLIERS (CREWS * GROUPS * 128)
#define THREADS (MULTIPLIERS + CREWS * COPIERS)
#ifndef STAGES
#define STAGES 4
#endif
#include "attention_tile.cuh"
#include "hopper.cuh"
#include "wgmma.cuh"

struct Walk { int item, stride, items; };  // which items a crew takes: item, item + stride, ...

struct Shared {
    alignas(1024) bits16 queries[2][ROWS * HEAD_DIM];
    alignas(1024) bits16 keys[STAGES][KEYS * HEAD_DIM];
    alignas(1024) bits16 values[STAGES][KEYS * HEAD_DIM];
#ifdef BIAS_RADIUS
    alignas(16) float bias[2][BIAS_FLOATS];  // of a tile's head, with its queries
#endif
    Tile tiles[2];
    alignas(8) unsigned long long full[STAGES];  // keys and values are there, and with a tile's first keys its queries and the tile itself
    unsigned long long empty[STAGES], empty_queries[2];
};

#define GROUP_BYTES (8 * ROW_BYTES)  // eight rows: what a swizzle repeats after

// Rows of ROW_BYTES, swizzled by as much; the same words describe K along the row (queries, keys) and N along the row (values).
__device__ __forceinline__ unsigned long long rows_descriptor(bits32 address) {
    return (unsigned long long)((address & 0x3ffff) >> 4) | ((unsigned long long)(GROUP_BYTES >> 4) << 16) | ((unsigned long long)(GROUP_BYTES >> 4) << 32)
        | ((HEAD_DIM == 64 ? 1ull : 2ull) << 62);
}

__device__ __forceinline__ void announce(Shared& s, int stage) {
    fence_shared_for_tma();  // wgmma reads as the copy engine does
    __syncwarp();
    if ((threadIdx.x & 31) == 0) barrier_arrive(shared_address(&s.full[stage]));
    __syncwarp();
}

// What has been copied is announced as soon as the next block is on its way too, or when there is no room for one yet.
__device__ __forceinline__ void produce(Shared& s, Walk walk, const bits16* qkv, const int4* tiles, const float* bias, int num_heads) {
    const Copier copy;
    int width = num_heads * HEAD_DIM, stride = 3 * width, copied = -1;
    Ring<STAGES> ring;
    Ring<2> slots;
    for (; walk.item < walk.items; walk.item += walk.stride) {
        Tile tile = tile_of(tiles, walk.item, num_heads);
        const bits16* document = qkv + (long long)tile.first * stride + tile.head * HEAD_DIM;
        const int first = first_key(tile.query);
        for (int key = first; key < last_key(tile.query + ROWS, tile.length); key += KEYS) {
            bits32 empty = shared_address(&s.empty[ring.stage]), empty_queries = shared_address(&s.empty_queries[slots.stage]);
            bool room = barrier_test(empty, ring.parity ^ 1) && (key != first || barrier_test(empty_queries, slots.parity ^ 1));
            if (!room) {
                if (copied >= 0) {
                    copy_async_wait<0>();
                    announce(s, copied);
                    copied = -1;
                }
                barrier_wait(empty, ring.parity ^ 1);
                if (key == first) barrier_wait(empty_queries, slots.parity ^ 1);
            }
            if (key == first) {
                copy.rows<ROWS>(s.queries[slots.stage], document, stride, tile.query, tile.length);
#ifdef BIAS_RADIUS
                if (walk.item < 2 * walk.stride || walk.stride % num_heads) copy_bias(s.bias[slots.stage], bias, tile.head);  // else it is the same head's
#endif
                if (threadIdx.x % COPIERS == 0) s.tiles[slots.stage] = tile;
            }
            copy.rows<KEYS>(s.keys[ring.stage], document + width, stride, key, tile.length);
            copy.rows<KEYS>(s.values[ring.stage], document + 2 * width, stride, key, tile.length);
            copy_async_commit();
            if (copied >= 0) {
                copy_async_wait<1>();
                announce(s, copied);
            }
            copied = ring.stage;
            ring.advance();
        }
        slots.advance();
    }
    copy_async_wait<0>();
    announce(s, copied);
}

__device__ __forceinline__ void release(unsigned long long& barrier) {
    __syncwarp();
    if ((threadIdx.x & 31) == 0) barrier_arrive(shared_address(&barrier));
}

template <int N> __device__ __forceinline__ void score_keys(float (&score)[N / 2], bits32 queries, const bits16* keys, int accumulate) {
    unsigned long long q = rows_descriptor(queries), k = rows_descriptor(shared_address(keys));
#pragma unroll
    for (int step = 0; step < HEAD_DIM / 16; ++step) multiply_tile(score, q + step * 2, k + step * 2, accumulate | step);
    wgmma_commit();
}

template <int N> __device__ __forceinline__ void sum_values(Rows& rows, const bits32 (&p)[N / 16][4], const bits16* values) {
    unsigned long long v = rows_descriptor(shared_address(values));
#pragma unroll
    for (int j = 0; j < N / 16; ++j) multiply_registers(rows.sum, p[j], v + j * (16 * ROW_BYTES >> 4));
    wgmma_commit();
}

#ifdef BIAS_RADIUS
#define START_SCORES start_scores<N>(score, bias, distance);  // before the wait for the keys, which hides the reads
#define STARTED 1
#else
#define START_SCORES
#define STARTED 0
#endif

#ifdef WINDOW
#define HIDE_DISTANT hide_distant<N>(score, distance);
#else
#define HIDE_DISTANT
#endif

template <int N> __device__ __forceinline__ void as_operands(bits32 (&p)[N / 16][4], const float (&score)[N / 2]) {
#pragma unroll
    for (int j = 0; j < N / 16; ++j) as_operand(p[j], score, j);
}

// Every block of keys (the first is there), N keys of each looked at: KEYS, or 32 where the document has no more. distance: from this warp's first row
// to the first key. bias: of this head, or null.
template <int N> __device__ __forceinline__ void attend(
    Shared& s, Ring<STAGES>& ring, Rows& rows, bits32 queries, int left, int distance, const float* bias, float scale_log2) {
    float score[N / 2], keep[2];
    bits32 p[N / 16][4];
    START_SCORES
    wgmma_fence();
    score_keys<N>(score, queries, s.keys[ring.stage], STARTED);
    wgmma_wait<0>();
    hold(score);
    rows.clear();
    HIDE_DISTANT
    rows.weigh<N>(score, keep, left, scale_log2);
    as_operands<N>(p, score);
    int stage = ring.stage;
    ring.advance();
    while (N == KEYS && left > KEYS) {
        left -= KEYS;
        distance += KEYS;
        START_SCORES
        barrier_wait(shared_address(&s.full[ring.stage]), ring.parity);
        wgmma_fence();
        score_keys<N>(score, queries, s.keys[ring.stage], STARTED);
        sum_values<N>(rows, p, s.values[stage]);
        wgmma_wait<1>();
        hold(score);
        HIDE_DISTANT
        rows.weigh<N>(score, keep, left, scale_log2);
        wgmma_wait<0>();
        hold(score);  // p is read until here: nothing of the next round may take its registers
        hold(rows.sum);
        release(s.empty[stage]);
        rows.scale(keep);
        as_operands<N>(p, score);
        stage = ring.stage;
        ring.advance();
    }
    wgmma_fence();
    sum_values<N>(rows, p, s.values[stage]);
    wgmma_wait<0>();
    hold(rows.sum);
    release(s.empty[stage]);
}

// Past blocks of keys that others look at.
__device__ __forceinline__ void keep_step(Shared& s, Ring<STAGES>& ring, int key, int end) {
    for (; key < end; key += KEYS) {
        barrier_wait(shared_address(&s.full[ring.stage]), ring.parity);
        release(s.empty[ring.stage]);
        ring.advance();
    }
}

__device__ __forceinline__ void consume(Shared& s, Walk walk, bits16* out, int num_heads, float scale_log2) {
    int group = threadIdx.x / 128 % GROUPS;
    Ring<STAGES> ring;
    Ring<2> slots;
    Rows rows;
    for (; walk.item < walk.items; walk.item += walk.stride) {
        barrier_wait(shared_address(&s.full[ring.stage]), ring.parity);
        const Tile& tile = s.tiles[slots.stage];
        int length = tile.length;
        if (tile.query + group * 64 < length) {
            bits32 queries = shared_address(s.queries[slots.stage]) + group * 64 * ROW_BYTES;
            int row = tile.query + group * 64, first = first_key(row), end = last_key(row + 64, length);
            int distance = first - tile.query - threadIdx.x / 32 % (GROUPS * 4) * 16;
#ifdef BIAS_RADIUS
            const float* bias = s.bias[slots.stage];
#else
            const float* bias = nullptr;
#endif
#ifdef WINDOW
            keep_step(s, ring, first_key(tile.query), first);
            barrier_wait(shared_address(&s.full[ring.stage]), ring.parity);
#endif
            if (length <= 32) attend<32>(s, ring, rows, queries, length, distance, bias, scale_log2);
            else attend<KEYS>(s, ring, rows, queries, end - first, distance, bias, scale_log2);
#ifdef WINDOW
            keep_step(s, ring, (end + KEYS - 1) / KEYS * KEYS, last_key(tile.query + ROWS, length));
#endif
            rows.write(s.queries[slots.stage], group * 64 + (threadIdx.x / 32 % 4) * 16, tile, out, num_heads);
        } else keep_step(s, ring, first_key(tile.query), last_key(tile.query + ROWS, length));  // no rows for this warpgroup
        release(s.empty_queries[slots.stage]);
        slots.advance();
    }
}

// qkv [T, 3, H, D]; tiles [n] of (first row of the document, its length, first query row inside it, 0); count: n; out [T, H, D];
// bias, if there is one: [H, BIAS_FLOATS]
extern "C" __global__ void __launch_bounds__(THREADS, 1) attention_wgmma(
    const bits16* qkv, const int4* tiles, const int* count, bits16* out, int num_heads, float scale_log2 BIAS_PARAMETER) {
    SHARED_MEMORY(memory);
    bool copies = threadIdx.x >= MULTIPLIERS;
    int crew = copies ? (threadIdx.x - MULTIPLIERS) / COPIERS : threadIdx.x / (GROUPS * 128);
    Shared& s = reinterpret_cast<Shared*>(memory)[crew];
    if (copies && threadIdx.x % COPIERS == 0) {
        for (int i = 0; i < STAGES; ++i) {
            barrier_init(shared_address(&s.full[i]), COPIERS / 32);  // a word from each copying warp
            barrier_init(shared_address(&s.empty[i]), GROUPS * 4);   // and from each multiplying one
        }
        for (int i = 0; i < 2; ++i) barrier_init(shared_address(&s.empty_queries[i]), GROUPS * 4);
        barrier_init_visible();
    }
    __syncthreads();
    Walk walk = {(int)(crew * gridDim.x + blockIdx.x), (int)(CREWS * gridDim.x), *count * num_heads};
    if (copies) {
        give_registers<32>();
        if (walk.item < walk.items) produce(s, walk, qkv, tiles, BIAS_ARGUMENT, num_heads);
    } else {
        take_registers<112>();
        consume(s, walk, out, num_heads, scale_log2);
    }
}

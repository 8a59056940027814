// softmax(q k^T / sqrt(D)) v inside each document on Hopper's warpgroup products, head dims 32 and 64; float32 softmax and sums.
// Bound: at 128 tokens by memory (8 E bytes a token), at 512 by exp2 and the wait between products and softmax, which several blocks on one
// multiprocessor hide from each other. Two warpgroups of 64 query rows each share every block of keys. attention_stream.cuh says how blocks walk.
#define KEYS 64
#define ROWS 128
#define THREADS 256
#ifndef BLOCKS
#define BLOCKS (HEAD_DIM == 32 ? 3 : 2)
#endif
#include "attention_stream.cuh"
#include "wgmma.cuh"

#define ROW_BYTES (HEAD_DIM * 2)
#define GROUP_BYTES (8 * ROW_BYTES)  // eight rows: what a swizzle repeats after

// Rows of ROW_BYTES, swizzled by as much; the same words describe K along the row (queries, keys) and N along the row (values).
__device__ __forceinline__ unsigned long long rows_descriptor(bits32 address) {
    return (unsigned long long)((address & 0x3ffff) >> 4) | ((unsigned long long)(GROUP_BYTES >> 4) << 16) | ((unsigned long long)(GROUP_BYTES >> 4) << 32)
        | ((HEAD_DIM == 64 ? 1ull : 2ull) << 62);
}

__device__ __forceinline__ void products_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void products_end() { asm volatile("wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;" ::: "memory"); }

template <int N> __device__ __forceinline__ void attend(Rows& rows, bits32 queries, bits32 keys, bits32 values, int left, float scale_log2) {
    float score[N / 2];
    unsigned long long q = rows_descriptor(queries), k = rows_descriptor(keys), v = rows_descriptor(values);
    products_begin();
#pragma unroll
    for (int step = 0; step < HEAD_DIM / 16; ++step) multiply_tile(score, q + step * 2, k + step * 2, step);
    products_end();
    rows.weigh<N>(score, left, scale_log2);
    bits32 p[N / 16][4];
#pragma unroll
    for (int j = 0; j < N / 16; ++j) as_operand(p[j], score, j);
    products_begin();
#pragma unroll
    for (int j = 0; j < N / 16; ++j) multiply_registers(rows.sum, p[j], v + j * (16 * ROW_BYTES >> 4));
    products_end();
}

// qkv [T, 3, H, D]; tiles [n] of (first row of the document, its length, first query row inside it, 0); count: n; out [T, H, D]
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) attention_wgmma(
    const bits16* qkv, const int4* tiles, const int* count, bits16* out, int num_heads, float scale_log2) {
    extern __shared__ __align__(1024) unsigned char memory[];
    Shared& s = *reinterpret_cast<Shared*>(memory);
    int group = threadIdx.x >> 7, items = *count * num_heads;

    Place now;
    now.item = blockIdx.x;
    if (now.item >= items) return;
    now.open(tiles, num_heads);
    int stage = 0, slot = 0;
    const Copier copy;
    copy.place(s, stage, slot, now, qkv, num_heads);
    Rows rows;

    while (now.item < items) {
        asm volatile("cp.async.wait_group 0;");
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        __syncthreads();
        Place next = now;
        next.advance(tiles, num_heads, items);
        int next_slot = next.item == now.item ? slot : slot ^ 1;
        if (next.item < items) copy.place(s, stage ^ 1, next_slot, next, qkv, num_heads);

        if (now.query + group * 64 < now.length) {  // else this warpgroup has no rows in the tile
            if (now.key == 0) rows.clear();
            int left = now.length - now.key;
            bits32 queries = shared_address(s.queries[slot]) + group * 64 * ROW_BYTES, keys = shared_address(s.keys[stage]), values = shared_address(s.values[stage]);
            if (left <= 32) attend<32>(rows, queries, keys, values, left, scale_log2);
            else attend<64>(rows, queries, keys, values, left, scale_log2);
            if (now.last()) rows.write(s.queries[slot], (threadIdx.x >> 5) * 16, now, out, num_heads);
        }
        now = next;
        slot = next_slot;
        stage ^= 1;
    }
}

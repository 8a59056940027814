// softmax(q k^T / sqrt(D)) v inside each document on tensor cores (mma.sync m16n8k16, sm_80 up), float32 softmax and sums.
// Bound: at 128 tokens by memory (8 E bytes a token), at 512 by mma.sync and exp2.
//
// One tile is 128 query rows of one head of one document. A block walks over tiles with a fixed stride and keeps one load ahead: while it
// multiplies one block of 64 keys, cp.async brings the next one, also across the border to its next tile. Keys are taken 64 at a time from the
// document's first to its last, so a row's bits depend on its document alone: not on the tile, the block or the neighbours.
#include "../portable/storage.cuh"

#define KEYS 64
#define ROWS 128
#if HEAD_DIM == 128
#define FRAGMENTS 1  // tiles of 16 rows per warp: two share every key they load, where the registers allow it
#define BLOCKS 1
#elif HEAD_DIM == 64
#define FRAGMENTS 2
#define BLOCKS 2
#else
#define FRAGMENTS 2
#define BLOCKS 3
#endif
#define WARPS (ROWS / (16 * FRAGMENTS))
#define THREADS (WARPS * 32)
#define CHUNKS (HEAD_DIM / 8)  // 16-byte pieces of one row
#define NONE -1e30f

__device__ __forceinline__ bits32 shared_address(const void* p) { return (bits32)__cvta_generic_to_shared(p); }

// Where piece c of row r lies: rows are permuted so that eight rows of one column of pieces touch all 32 banks.
__device__ __forceinline__ int swizzled(int r, int c) {
#if HEAD_DIM == 32
    return r * 64 + ((c ^ ((r >> 1) & 3)) << 4);
#else
    return r * (HEAD_DIM * 2) + ((c ^ (r & 7)) << 4);
#endif
}

__device__ __forceinline__ void copy_async(bits32 to, const void* from, bool inside) {
    int bytes = inside ? 16 : 0;  // what is not read is zero
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes));
}

__device__ __forceinline__ void load_matrices(bits32 (&m)[4], bits32 at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3]) : "r"(at));
}

__device__ __forceinline__ void load_transposed(bits32 (&m)[4], bits32 at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3]) : "r"(at));
}

#if STORAGE == 116
#define MMA_TYPES "bf16.bf16"
#define PACK_TWO "cvt.rn.bf16x2.f32 %0, %1, %2;"
#else
#define MMA_TYPES "f16.f16"
#define PACK_TWO "cvt.rn.f16x2.f32 %0, %1, %2;"
#endif

__device__ __forceinline__ void multiply(float (&c)[4], const bits32 (&a)[4], bits32 b0, bits32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." MMA_TYPES ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ bits32 pack_two(float low, float high) {
    bits32 both;
    asm(PACK_TWO : "=r"(both) : "f"(high), "f"(low));
    return both;
}

// A place in the stream of work: a tile of one head, and the block of keys that comes next.
struct Place {
    int item, first, length, query, head, key;

    __device__ __forceinline__ void open(const int4* tiles, int num_heads) {
        int4 tile = tiles[item / num_heads];
        head = item % num_heads;
        first = tile.x; length = tile.y; query = tile.z; key = 0;
    }
    __device__ __forceinline__ bool last() const { return key + KEYS >= length; }
    __device__ __forceinline__ void advance(const int4* tiles, int num_heads, int items) {
        if (!last()) { key += KEYS; return; }
        item += gridDim.x;
        if (item < items) open(tiles, num_heads);
    }
};

struct Shared {
    alignas(128) bits16 queries[2][ROWS * HEAD_DIM];
    alignas(128) bits16 keys[2][KEYS * HEAD_DIM];
    alignas(128) bits16 values[2][KEYS * HEAD_DIM];
};

__device__ __forceinline__ void load_rows(bits16* to, const bits16* from, long long stride, int rows, int begin, int length) {
    bits32 base = shared_address(to);
    for (int i = threadIdx.x; i < rows * CHUNKS; i += THREADS) {
        int r = i / CHUNKS, c = i % CHUNKS;
        bool inside = begin + r < length;
        copy_async(base + swizzled(r, c), from + (inside ? begin + r : 0) * stride + c * 8, inside);
    }
}

__device__ __forceinline__ void load_place(Shared& s, int stage, int slot, const Place& p, const bits16* qkv, int num_heads) {
    long long width = (long long)num_heads * HEAD_DIM, stride = 3 * width;
    const bits16* base = qkv + p.first * stride + p.head * HEAD_DIM;
    if (p.key == 0) load_rows(s.queries[slot], base, stride, ROWS, p.query, p.length);
    load_rows(s.keys[stage], base + width, stride, KEYS, p.key, p.length);
    load_rows(s.values[stage], base + 2 * width, stride, KEYS, p.key, p.length);
    asm volatile("cp.async.commit_group;");
}

// qkv [T, 3, H, D]; tiles [n] of (first row of the document, its length, first query row inside it, 0); count: n; out [T, H, D]
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) attention_mma(
    const bits16* qkv, const int4* tiles, const int* count, bits16* out, int num_heads, float scale_log2) {
    extern __shared__ __align__(128) unsigned char memory[];
    Shared& s = *reinterpret_cast<Shared*>(memory);
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, items = *count * num_heads;
    int matrix = lane >> 3, matrix_row = lane & 7, warp_row = warp * 16 * FRAGMENTS;

    Place now;
    now.item = blockIdx.x;
    if (now.item >= items) return;
    now.open(tiles, num_heads);
    int stage = 0, slot = 0;
    load_place(s, stage, slot, now, qkv, num_heads);

    bits32 q[FRAGMENTS][HEAD_DIM / 16][4];
    float sum[FRAGMENTS][HEAD_DIM / 8][4], best[FRAGMENTS][2], total[FRAGMENTS][2];

    while (now.item < items) {
        asm volatile("cp.async.wait_group 0;");
        __syncthreads();
        Place next = now;
        next.advance(tiles, num_heads, items);
        int next_slot = next.item == now.item ? slot : slot ^ 1;
        if (next.item < items) load_place(s, stage ^ 1, next_slot, next, qkv, num_heads);

        if (now.query + warp_row < now.length) {  // else this warp has no rows in the tile
            if (now.key == 0) {
                bits32 base = shared_address(s.queries[slot]);
#pragma unroll
                for (int f = 0; f < FRAGMENTS; ++f) {
#pragma unroll
                    for (int k = 0; k < HEAD_DIM / 16; ++k)
                        load_matrices(q[f][k], base + swizzled(warp_row + f * 16 + (matrix & 1) * 8 + matrix_row, k * 2 + (matrix >> 1)));
#pragma unroll
                    for (int d = 0; d < HEAD_DIM / 8; ++d)
                        for (int i = 0; i < 4; ++i) sum[f][d][i] = 0.0f;
                    for (int i = 0; i < 2; ++i) { best[f][i] = NONE; total[f][i] = 0.0f; }
                }
            }
            int left = now.length - now.key;  // keys of this block that exist
            float score[FRAGMENTS][KEYS / 8][4];
            bits32 keys = shared_address(s.keys[stage]), values = shared_address(s.values[stage]);
#pragma unroll
            for (int j = 0; j < KEYS / 16; ++j) {
#pragma unroll
                for (int f = 0; f < FRAGMENTS; ++f)
                    for (int i = 0; i < 4; ++i) score[f][2 * j][i] = score[f][2 * j + 1][i] = 0.0f;
                if (j * 16 >= left) continue;
#pragma unroll
                for (int k = 0; k < HEAD_DIM / 16; ++k) {
                    bits32 b[4];
                    load_matrices(b, keys + swizzled(j * 16 + (matrix >> 1) * 8 + matrix_row, k * 2 + (matrix & 1)));
#pragma unroll
                    for (int f = 0; f < FRAGMENTS; ++f) {
                        multiply(score[f][2 * j], q[f][k], b[0], b[1]);
                        multiply(score[f][2 * j + 1], q[f][k], b[2], b[3]);
                    }
                }
            }
            if (left < KEYS) {
#pragma unroll
                for (int n = 0; n < KEYS / 8; ++n)
#pragma unroll
                    for (int i = 0; i < 4; ++i)
                        if (n * 8 + (lane & 3) * 2 + (i & 1) >= left)
                            for (int f = 0; f < FRAGMENTS; ++f) score[f][n][i] = NONE;
            }
#pragma unroll
            for (int f = 0; f < FRAGMENTS; ++f)
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    float top = score[f][0][2 * half];
#pragma unroll
                    for (int n = 0; n < KEYS / 8; ++n) top = fmaxf(top, fmaxf(score[f][n][2 * half], score[f][n][2 * half + 1]));
                    top = fmaxf(top, lanes_xor(top, 1));
                    top = fmaxf(top, lanes_xor(top, 2));
                    top = fmaxf(top, best[f][half]);
                    float keep = exp_2((best[f][half] - top) * scale_log2), shift = -top * scale_log2, added = 0.0f;
                    best[f][half] = top;
#pragma unroll
                    for (int n = 0; n < KEYS / 8; ++n)
#pragma unroll
                        for (int i = 2 * half; i < 2 * half + 2; ++i) {
                            score[f][n][i] = exp_2(fmaf(score[f][n][i], scale_log2, shift));
                            added += score[f][n][i];
                        }
                    total[f][half] = fmaf(total[f][half], keep, added);
#pragma unroll
                    for (int d = 0; d < HEAD_DIM / 8; ++d) {
                        sum[f][d][2 * half] *= keep;
                        sum[f][d][2 * half + 1] *= keep;
                    }
                }
#pragma unroll
            for (int j = 0; j < KEYS / 16; ++j) {
                if (j * 16 >= left) continue;
                bits32 p[FRAGMENTS][4];
#pragma unroll
                for (int f = 0; f < FRAGMENTS; ++f) {
                    p[f][0] = pack_two(score[f][2 * j][0], score[f][2 * j][1]);
                    p[f][1] = pack_two(score[f][2 * j][2], score[f][2 * j][3]);
                    p[f][2] = pack_two(score[f][2 * j + 1][0], score[f][2 * j + 1][1]);
                    p[f][3] = pack_two(score[f][2 * j + 1][2], score[f][2 * j + 1][3]);
                }
#pragma unroll
                for (int d = 0; d < HEAD_DIM / 16; ++d) {
                    bits32 b[4];
                    load_transposed(b, values + swizzled(j * 16 + (matrix & 1) * 8 + matrix_row, d * 2 + (matrix >> 1)));
#pragma unroll
                    for (int f = 0; f < FRAGMENTS; ++f) {
                        multiply(sum[f][2 * d], p[f], b[0], b[1]);
                        multiply(sum[f][2 * d + 1], p[f], b[2], b[3]);
                    }
                }
            }
            if (now.last()) {  // normalise, turn rows over through this warp's own query rows, write 16 bytes at a time
                bits16* mine = s.queries[slot];
                __syncwarp();
#pragma unroll
                for (int f = 0; f < FRAGMENTS; ++f)
#pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        float all = total[f][half];
                        all += lanes_xor(all, 1);
                        all += lanes_xor(all, 2);
                        float inverse = 1.0f / all;
                        int r = warp_row + f * 16 + half * 8 + (lane >> 2);
#pragma unroll
                        for (int d = 0; d < HEAD_DIM / 8; ++d)
                            *(bits32*)((unsigned char*)mine + swizzled(r, d) + (lane & 3) * 4) = pack_two(sum[f][d][2 * half] * inverse, sum[f][d][2 * half + 1] * inverse);
                    }
                __syncwarp();
                for (int i = lane; i < 16 * FRAGMENTS * CHUNKS; i += 32) {
                    int r = warp_row + i / CHUNKS, c = i % CHUNKS;
                    if (now.query + r < now.length)
                        *(int4*)(out + ((long long)(now.first + now.query + r) * num_heads + now.head) * HEAD_DIM + c * 8) = *(const int4*)((unsigned char*)mine + swizzled(r, c));
                }
            }
        }
        now = next;
        slot = next_slot;
        stage ^= 1;
    }
}

// What the attention kernels for tensor cores share: a block's walk over tiles with one load ahead, and the softmax between two products.
//
// One tile is ROWS query rows of one head of one document. A block walks over tiles with a fixed stride and keeps one load ahead: while it
// multiplies one block of KEYS keys, cp.async brings the next one, also across the border to its next tile. Keys are taken from the document's
// first to its last, so a row's bits depend on its document alone: not on the tile, the block or the neighbours.
// A kernel defines HEAD_DIM, ROWS, KEYS and THREADS before it includes this.
#pragma once
#include "../portable/storage.cuh"

#define CHUNKS (HEAD_DIM / 8)  // 16-byte pieces of one row
#define NONE -1e30f

__device__ __forceinline__ bits32 shared_address(const void* p) { return (bits32)__cvta_generic_to_shared(p); }

// Where piece c of row r lies: rows are permuted so that eight rows of one column of pieces touch all 32 banks (for 64 and 128 bytes, TMA's and wgmma's own swizzle).
__device__ __forceinline__ int swizzled(int r, int c) {
#if HEAD_DIM == 32
    return r * 64 + ((c ^ ((r >> 1) & 3)) << 4);
#else
    return r * (HEAD_DIM * 2) + ((c ^ (r & 7)) << 4);
#endif
}

__device__ __forceinline__ bits32 pack_two(float low, float high) {
    bits32 both;
    asm(PACK_TWO : "=r"(both) : "f"(high), "f"(low));
    return both;
}

__device__ __forceinline__ void copy_async(bits32 to, const void* from, bool inside) {
    int bytes = inside ? 16 : 0;  // what is not read is zero
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes));
}

// A place in the stream of work: a tile of one head, and the block of keys that comes next.
struct Place {
    int item, first, length, query, head, key;

    __device__ __forceinline__ void open(const int4* tiles, int num_heads) {
        unsigned which = (unsigned)item / (unsigned)num_heads;
        int4 tile = tiles[which];
        head = item - (int)which * num_heads;
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
    alignas(1024) bits16 queries[2][ROWS * HEAD_DIM];
    alignas(1024) bits16 keys[2][KEYS * HEAD_DIM];
    alignas(1024) bits16 values[2][KEYS * HEAD_DIM];
};

// Which rows and which piece of a row this thread copies: rows row, row + PASS, row + 2 PASS, ... A whole number of swizzles apart, so one offset serves all.
#define PASS (THREADS / CHUNKS)
static_assert(PASS % 8 == 0, "rows of one thread must lie alike in the swizzle");

struct Copier {
    int row, column;
    bits32 offset;

    __device__ __forceinline__ Copier() : row(threadIdx.x / CHUNKS), column(threadIdx.x % CHUNKS * 8), offset(swizzled(row, threadIdx.x % CHUNKS)) {}

    // COUNT rows from row `begin` of a document of `length` rows; what lies past its end becomes zero
    template <int COUNT> __device__ __forceinline__ void rows(const bits16* to, const bits16* document, int stride, int begin, int length) const {
        bits32 at = shared_address(to) + offset;
        const bits16* from = document + (long long)(begin + row) * stride + column;
        int left = length - begin - row;
#pragma unroll
        for (int i = 0; i < COUNT / PASS; ++i) {
            copy_async(at + i * PASS * HEAD_DIM * 2, i * PASS < left ? from : document, i * PASS < left);
            from += PASS * stride;
        }
    }

    __device__ __forceinline__ void place(Shared& s, int stage, int slot, const Place& p, const bits16* qkv, int num_heads) const {
        int width = num_heads * HEAD_DIM, stride = 3 * width;
        const bits16* document = qkv + (long long)p.first * stride + p.head * HEAD_DIM;
        if (p.key == 0) rows<ROWS>(s.queries[slot], document, stride, p.query, p.length);
        rows<KEYS>(s.keys[stage], document + width, stride, p.key, p.length);
        rows<KEYS>(s.values[stage], document + 2 * width, stride, p.key, p.length);
        asm volatile("cp.async.commit_group;");
    }
};

// Sixteen rows of output in the registers of one warp, as tensor cores leave them: value 4 n + i is row lane / 4 (+ 8 for i >= 2), column 8 n + 2 (lane % 4) + i % 2.
struct Rows {
    float sum[HEAD_DIM / 2], best[2], total[2];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < HEAD_DIM / 2; ++i) sum[i] = 0.0f;
        for (int i = 0; i < 2; ++i) { best[i] = NONE; total[i] = 0.0f; }
    }

    // Scores of N keys, of which `left` exist, to exp2 of their scaled distance from the largest so far; what was summed before is scaled along.
    template <int N> __device__ __forceinline__ void weigh(float (&score)[N / 2], int left, float scale_log2) {
        int lane = threadIdx.x & 31;
        if (left < N) {
#pragma unroll
            for (int i = 0; i < N / 2; ++i)
                if ((i >> 2) * 8 + (lane & 3) * 2 + (i & 1) >= left) score[i] = NONE;
        }
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float top[2] = {best[half], NONE}, added[2] = {0.0f, 0.0f};  // two chains each: half the wait
#pragma unroll
            for (int n = 0; n < N / 8; ++n)
#pragma unroll
                for (int i = 0; i < 2; ++i) top[i] = fmaxf(top[i], score[4 * n + 2 * half + i]);
            top[0] = fmaxf(top[0], top[1]);
            top[0] = fmaxf(top[0], lanes_xor(top[0], 1));
            top[0] = fmaxf(top[0], lanes_xor(top[0], 2));
            float keep = exp_2((best[half] - top[0]) * scale_log2), shift = -top[0] * scale_log2;
            best[half] = top[0];
#pragma unroll
            for (int n = 0; n < N / 8; ++n)
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    float& weight = score[4 * n + 2 * half + i];
                    weight = exp_2(fmaf(weight, scale_log2, shift));
                    added[i] += weight;
                }
            total[half] = fmaf(total[half], keep, added[0] + added[1]);
#pragma unroll
            for (int d = 0; d < HEAD_DIM / 8; ++d) {
                sum[4 * d + 2 * half] *= keep;
                sum[4 * d + 2 * half + 1] *= keep;
            }
        }
    }

    // Divide by the totals and write rows row .. row + 15 of the tile, turned over in this warp's own query rows (`mine`), 16 bytes at a time.
    __device__ __forceinline__ void write(bits16* mine, int row, const Place& p, bits16* out, int num_heads) {
        int lane = threadIdx.x & 31;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float all = total[half];
            all += lanes_xor(all, 1);
            all += lanes_xor(all, 2);
            float inverse = 1.0f / all;
            int r = row + half * 8 + (lane >> 2);
#pragma unroll
            for (int d = 0; d < HEAD_DIM / 8; ++d)
                *(bits32*)((unsigned char*)mine + swizzled(r, d) + (lane & 3) * 4) = pack_two(sum[4 * d + 2 * half] * inverse, sum[4 * d + 2 * half + 1] * inverse);
        }
        __syncwarp();
        for (int i = lane; i < 16 * CHUNKS; i += 32) {
            int r = row + i / CHUNKS, c = i % CHUNKS;
            if (p.query + r < p.length)
                *(int4*)(out + ((long long)(p.first + p.query + r) * num_heads + p.head) * HEAD_DIM + c * 8) = *(const int4*)((unsigned char*)mine + swizzled(r, c));
        }
    }
};

// The probabilities of 16 keys as the left operand of the second product.
template <int N> __device__ __forceinline__ void as_operand(bits32 (&p)[4], const float (&score)[N], int j) {
    p[0] = pack_two(score[8 * j], score[8 * j + 1]);
    p[1] = pack_two(score[8 * j + 2], score[8 * j + 3]);
    p[2] = pack_two(score[8 * j + 4], score[8 * j + 5]);
    p[3] = pack_two(score[8 * j + 6], score[8 * j + 7]);
}

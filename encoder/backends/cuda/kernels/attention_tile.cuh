// What the attention kernels for tensor cores share: which work there is, how rows come into shared memory, and the softmax between two products.
//
// One tile is ROWS query rows of one head of one document. Its keys are taken KEYS at a time from the document's first to its last, so a row's
// bits depend on its document alone: not on the tile, the block or the neighbours.
// A kernel defines HEAD_DIM, ROWS, KEYS and COPIERS (threads that copy, the first of them a multiple of COPIERS) before it includes this.
// Optional: WINDOW, BIAS_RADIUS (see attention_distance.cuh).
#pragma once
#include "ptx.cuh"

#define CHUNKS (HEAD_DIM / 8)  // 16-byte pieces of one row
#define ROW_BYTES (HEAD_DIM * 2)
#define NONE -1e30f

// Where piece c of row r lies: rows are permuted so that eight rows of one column of pieces touch all 32 banks (for 64 and 128 bytes, TMA's and wgmma's own swizzle).
__device__ __forceinline__ int swizzled(int r, int c) {
#if HEAD_DIM == 32
    return r * ROW_BYTES + ((c ^ ((r >> 1) & 3)) << 4);
#else
    return r * ROW_BYTES + ((c ^ (r & 7)) << 4);
#endif
}

// The tile of work item `item`: items are tiles times heads, heads first.
struct Tile { int first, length, query, head; };

__device__ __forceinline__ Tile tile_of(const int4* tiles, int item, int num_heads) {
    unsigned which = (unsigned)item / (unsigned)num_heads;
    int4 tile = tiles[which];
    return {tile.x, tile.y, tile.z, item - (int)which * num_heads};
}

#include "attention_distance.cuh"

// Which rows and which piece of a row this thread copies: rows row, row + PASS, row + 2 PASS, ... A whole number of swizzles apart, so one offset serves all.
#define PASS (COPIERS / CHUNKS)
static_assert(PASS % 8 == 0, "rows of one thread must lie alike in the swizzle");

struct Copier {
    int row, column;
    bits32 offset;

    __device__ __forceinline__ Copier() {
        int thread = threadIdx.x % COPIERS;
        row = thread / CHUNKS;
        column = thread % CHUNKS * 8;
        offset = swizzled(row, thread % CHUNKS);
    }

    // COUNT rows from row `begin` of a document of `length` rows; what lies past its end becomes zero
    template <int COUNT> __device__ __forceinline__ void rows(const bits16* to, const bits16* document, int stride, int begin, int length) const {
        bits32 at = shared_address(to) + offset;
        const bits16* from = document + (long long)(begin + row) * stride + column;
        int left = length - begin - row;
#pragma unroll
        for (int i = 0; i < COUNT / PASS; ++i) {
            copy_async(at, from, left > 0);
            at += PASS * ROW_BYTES;
            from += PASS * stride;
            left -= PASS;
        }
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

    // Scores of N keys, of which `left` exist, to exp2 of their scaled distance from the largest so far. keep: what `scale` must multiply the sums by.
    template <int N, int SIZE> __device__ __forceinline__ void weigh(float (&score)[SIZE], float (&keep)[2], int left, float scale_log2) {
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
            keep[half] = exp_2((best[half] - top[0]) * scale_log2);
#ifdef WINDOW
            float shift = top[0] == NONE ? 0.0f : -top[0] * scale_log2;  // a row may see nothing of its warp's first block
#else
            float shift = -top[0] * scale_log2;
#endif
            best[half] = top[0];
#pragma unroll
            for (int n = 0; n < N / 8; ++n)
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    float& weight = score[4 * n + 2 * half + i];
                    weight = exp_2(fmaf(weight, scale_log2, shift));
                    added[i] += weight;
                }
            total[half] = fmaf(total[half], keep[half], added[0] + added[1]);
        }
    }

    __device__ __forceinline__ void scale(const float (&keep)[2]) {
#pragma unroll
        for (int i = 0; i < HEAD_DIM / 2; ++i) sum[i] *= keep[i >> 1 & 1];
    }

    // Divide by the totals and write rows row .. row + 15 of the tile, turned over in this warp's own query rows (`mine`), 16 bytes at a time.
    __device__ __forceinline__ void write(bits16* mine, int row, const Tile& tile, bits16* out, int num_heads) {
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
            if (tile.query + r < tile.length)
                *(int4*)(out + ((long long)(tile.first + tile.query + r) * num_heads + tile.head) * HEAD_DIM + c * 8) = *(const int4*)((unsigned char*)mine + swizzled(r, c));
        }
    }
};

// The probabilities of keys 16 j .. 16 j + 15 as the left operand of the second product.
template <int N> __device__ __forceinline__ void as_operand(bits32 (&p)[4], const float (&score)[N], int j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) p[i] = pack_two(score[8 * j + 2 * i], score[8 * j + 2 * i + 1]);
}

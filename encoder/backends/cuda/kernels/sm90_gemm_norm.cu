// out[M, N] = LayerNorm(x[M, K] @ weight[N, K]^T + bias[N] + residual[M, N]) * gamma[N] + beta[N] for Hopper, all of it in the product's own epilogue.
// Bound: tensor cores (and the card's power); against a LayerNorm of its own, M * N * 2 bytes less to write and to read again.
//
// Rows are whole: in one block (N = TILE_N; the two blocks of a cluster then share the weights), or in the blocks of a cluster, which share x, and send
// each other the mean and the squares of their part of each row. The residual comes through the ring of stages, behind the last of K: it is there when the
// products are. Sums and squares are added in one order, whatever the batch: two passes over registers, then the parts by rank.
// KEEP_SUM (a define): what LayerNorm is taken of is written, too, as pre-norm layers want it: sum[M, N].
#include "gemm_stages.cuh"

#ifdef KEEP_SUM
#define SUM_PARAMETER , stored* sum
#define SUM_ARGUMENT , sum
#else
#define SUM_PARAMETER
#define SUM_ARGUMENT
#endif
#define SLOTS 2  // stages that hold the residual
#define SLOT_BOXES (TILE_N / 64 / SLOTS)
#define BOX_BYTES (TILE_M * 128)  // TILE_M rows x 64 columns
#define PEERS (CLUSTER_COLUMNS - 1)
#define WARPS 8  // that multiply, 16 rows each
#if SLOT_BOXES * BOX_BYTES > A_BYTES + B_BYTES
#error the residual of a slot does not fit into a stage
#endif

typedef float Values[PARTS][PART_N / 2];  // of a warpgroup's 64 rows, as tensor cores leave them

struct Shared {
    Stage stages[STAGES];
    alignas(1024) unsigned char out[WARPS][16 * 128];  // 16 rows x 64 columns on their way out
    float2 bias[TILE_N / 2], gamma[TILE_N / 2], beta[TILE_N / 2];
#if PEERS
    // Mean and squares of the peers' columns: this tile's, and the next one's, which one peer may send while another's for this one are on their way.
    float2 parts[2][CLUSTER_COLUMNS][TILE_M];
    unsigned long long parts_full[2][2];  // and for each warpgroup
#endif
    Barriers barriers;
};

__device__ __forceinline__ int first_row(int tile, Place place) { return (CLUSTER_ROWS > 1 ? tile * CLUSTER_ROWS + place.rank : tile) * TILE_M; }
__device__ __forceinline__ int first_column(Place place) { return CLUSTER_COLUMNS > 1 ? place.rank * TILE_N : 0; }

__device__ __forceinline__ void produce(Shared& s, const TensorMap* x, const TensorMap* weight, const TensorMap* residual, Place place, int tiles, int k_steps) {
    Ring<STAGES> ring;
    int column = first_column(place);
    for (int tile = place.cluster; tile < tiles; tile += place.clusters) {
        int row = first_row(tile, place);
        for (int k = 0; k < k_steps; ++k) {
            bits32 full = claim(s.barriers, ring, A_BYTES + B_BYTES);
            load_stage(s.stages[ring.stage], full, x, weight, place.rank, k * TILE_K, row, column);
            ring.advance();
        }
        for (int slot = 0; slot < SLOTS; ++slot) {
            bits32 full = claim(s.barriers, ring, SLOT_BOXES * BOX_BYTES), to = shared_address(&s.stages[ring.stage]);
            for (int box = 0; box < SLOT_BOXES; ++box) tma_load(to + box * BOX_BYTES, residual, full, column + (slot * SLOT_BOXES + box) * 64, row);
            ring.advance();
        }
    }
}

// The four values of this lane in tile n of 8 columns: two of its first row, two of the row eight below. And which two columns they are.
__device__ __forceinline__ float* values(Values& d, int n) { return d[n / (PART_N / 8)] + n % (PART_N / 8) * 4; }
__device__ __forceinline__ int columns(int n) { return n * 4 + (threadIdx.x & 3); }

__device__ __forceinline__ float quad_sum(float v) {
    v += lanes_xor(v, 1);
    return v + lanes_xor(v, 2);
}

// d += bias + residual; the sums of this lane's two rows
__device__ __forceinline__ void add_residual(Shared& s, Ring<STAGES>& ring, Values& d, float (&sum)[2], int first_row) {
    sum[0] = sum[1] = 0.0f;
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
        barrier_wait(shared_address(&s.barriers.full[ring.stage]), ring.parity);
        bits32 from = shared_address(&s.stages[ring.stage]);
#pragma unroll
        for (int j = 0; j < SLOT_BOXES * 8; j += 2) {
            bits32 word[4];
            load_matrices(word, from + (j >> 3) * BOX_BYTES + matrix_offset(first_row, j & 7));
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int n = slot * SLOT_BOXES * 8 + j + (i >> 1);
                float* v = values(d, n) + (i & 1) * 2;
                float2 b = s.bias[columns(n)];
                v[0] += unpack_float((stored)(word[i] & 0xffff)) + b.x;
                v[1] += unpack_float((stored)(word[i] >> 16)) + b.y;
                sum[i & 1] += v[0] + v[1];
            }
        }
        release_read(s.barriers, ring.stage);
        ring.advance();
    }
}

// Mean and sum of squared distances from it, of this lane's two rows, over the columns of this block.
__device__ __forceinline__ void measure(Values& d, const float (&sum)[2], float2 (&part)[2]) {
    float squares[2] = {0.0f, 0.0f};
#pragma unroll
    for (int r = 0; r < 2; ++r) part[r].x = quad_sum(sum[r]) * (1.0f / TILE_N);
#pragma unroll
    for (int n = 0; n < TILE_N / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            float far = values(d, n)[i] - part[i >> 1].x;
            squares[i >> 1] = fmaf(far, far, squares[i >> 1]);
        }
#pragma unroll
    for (int r = 0; r < 2; ++r) part[r].y = quad_sum(squares[r]);
}

#if PEERS
// The parts of all blocks of the cluster, by rank, become those of whole rows. meanwhile: what to do while the peers' are on their way.
template <class Work> __device__ __forceinline__ void merge(Shared& s, float2 (&part)[2], int rank, int first_row, int turn, Work meanwhile) {
    int lane = threadIdx.x & 31, row = first_row + (lane >> 2), slot = turn & 1;
    bits32 full = shared_address(&s.parts_full[slot][first_row / 64]);
    if ((threadIdx.x & 127) == 0) barrier_expect(full, PEERS * 64 * (int)sizeof(float2));
    if ((lane & 3) < 2) {
        float2 mine = lane & 1 ? part[1] : part[0];
        bits32 to = shared_address(&s.parts[slot][rank][row + (lane & 1) * 8]);
#pragma unroll
        for (int step = 1; step <= PEERS; ++step) send(to, mine, full, (rank + step) % CLUSTER_COLUMNS);
    }
    meanwhile();
    barrier_wait(full, turn >> 1 & 1);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        float2 all[CLUSTER_COLUMNS];
        float mean = 0.0f, squares = 0.0f;
#pragma unroll
        for (int i = 0; i < CLUSTER_COLUMNS; ++i) {
            all[i] = i == rank ? part[r] : s.parts[slot][i][row + r * 8];
            mean += all[i].x * (1.0f / CLUSTER_COLUMNS);
        }
#pragma unroll
        for (int i = 0; i < CLUSTER_COLUMNS; ++i) squares += fmaf(TILE_N * (all[i].x - mean), all[i].x - mean, all[i].y);
        part[r] = {mean, squares};
    }
}
#endif

// 64 columns of this warp's 16 rows, two values a word -> its box -> global, 16 bytes a lane; rows past m are left alone
__device__ __forceinline__ void write_rows(unsigned char (&box)[16 * 128], const bits32 (&packed)[16], stored* out, int row, int m, int width) {
    int lane = threadIdx.x & 31;
    __syncwarp();  // what was written before has left
#pragma unroll
    for (int j = 0; j < 8; j += 2) store_matrices(shared_address(box) + matrix_offset(0, j), packed[2 * j], packed[2 * j + 1], packed[2 * j + 2], packed[2 * j + 3]);
    __syncwarp();
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        int r = i * 4 + lane / 8, c = lane % 8;
        if (row + r < m) *(int4*)(out + (long long)(row + r) * width + c * 8) = *(const int4*)(box + r * 128 + ((c ^ (r & 7)) << 4));
    }
}

#ifdef KEEP_SUM
// The same for sums, all boxes, with one address for all of them: with two results, those of each row would not fit into registers.
__device__ __forceinline__ void write_sum(unsigned char (&box)[16 * 128], Values& d, stored* sum, int row, int m) {
    const int width = TILE_N * CLUSTER_COLUMNS;
    int lane = threadIdx.x & 31, left = m - row - lane / 8;
    stored* to = sum + (long long)(row + lane / 8) * width + lane % 8 * 8;
#pragma unroll
    for (int at = 0; at < TILE_N / 64; ++at) {
        __syncwarp();
#pragma unroll
        for (int j = 0; j < 8; j += 2) {
            const float *a = values(d, at * 8 + j), *b = values(d, at * 8 + j + 1);
            store_matrices(shared_address(box) + matrix_offset(0, j), pack_two(a[0], a[1]), pack_two(a[2], a[3]), pack_two(b[0], b[1]), pack_two(b[2], b[3]));
        }
        __syncwarp();
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            int r = i * 4 + lane / 8;
            if (i * 4 < left) *(int4*)(to + i * 4 * width + at * 64) = *(const int4*)(box + r * 128 + ((lane % 8 ^ (r & 7)) << 4));
        }
    }
}
#endif

__device__ __forceinline__ void consume(Shared& s, stored* out, float eps, Place place, int tiles, int k_steps, int m SUM_PARAMETER) {
    int warp = threadIdx.x / 32 - 4, turn = 0;
    Ring<STAGES> ring;
    Values d;
    for (int tile = place.cluster; tile < tiles; tile += place.clusters) {
        multiply(s.stages, s.barriers, ring, d, warp / 4, k_steps);
        forget(warp);  // what follows from it is computed anew for each tile: it has no registers while the products need them
        float sums[2], scale[2], shift[2];
        float2 part[2];
        add_residual(s, ring, d, sums, warp * 16);
        measure(d, sums, part);
        auto keep = [&] {
#ifdef KEEP_SUM
            write_sum(s.out[warp], d, sum + first_column(place), first_row(tile, place) + warp * 16, m);
#endif
        };
#if PEERS
        merge(s, part, place.rank, warp * 16, turn++, keep);
#else
        keep();
#endif
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            scale[r] = 1.0f / sqrtf(part[r].y * (1.0f / (TILE_N * CLUSTER_COLUMNS)) + eps);
            shift[r] = -part[r].x * scale[r];
        }
        int row = first_row(tile, place) + warp * 16;
#pragma unroll
        for (int box = 0; box < TILE_N / 64; ++box) {
            bits32 packed[16];
#pragma unroll
            for (int j = 0; j < 8; ++j) {
                const int n = box * 8 + j;
                const float* v = values(d, n);
                float2 g = s.gamma[columns(n)], b = s.beta[columns(n)];
#pragma unroll
                for (int r = 0; r < 2; ++r)
                    packed[2 * j + r] = pack_two(fmaf(fmaf(v[2 * r], scale[r], shift[r]), g.x, b.x), fmaf(fmaf(v[2 * r + 1], scale[r], shift[r]), g.y, b.y));
            }
            write_rows(s.out[warp], packed, out + first_column(place) + box * 64, row, m, TILE_N * CLUSTER_COLUMNS);
        }
    }
}

extern "C" __global__ void
#if CLUSTER > 1
__cluster_dims__(CLUSTER, 1, 1)
#endif
__launch_bounds__(THREADS, 1) gemm_norm(
    const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight, const __grid_constant__ TensorMap residual,
    const float* bias, const float* gamma, const float* beta, float eps, stored* out, int m, int k SUM_PARAMETER) {
    SHARED_MEMORY(memory);
    Shared& s = *reinterpret_cast<Shared*>(memory);
    const Place place;
    int tiles = (m + TILE_M * CLUSTER_ROWS - 1) / (TILE_M * CLUSTER_ROWS), k_steps = k / TILE_K;
    if (threadIdx.x == 0) {
        tma_prefetch_map(&x); tma_prefetch_map(&weight); tma_prefetch_map(&residual);
        prepare(s.barriers);
#if PEERS
        for (int i = 0; i < 4; ++i) barrier_init(shared_address(&s.parts_full[i / 2][i % 2]), 1);
#endif
        barrier_init_visible();
    }
    for (int i = threadIdx.x; i < TILE_N / 2; i += THREADS) {
        int column = first_column(place) + 2 * i;
        s.bias[i] = *(const float2*)(bias + column);
        s.gamma[i] = *(const float2*)(gamma + column);
        s.beta[i] = *(const float2*)(beta + column);
    }
    __syncthreads();
    if (CLUSTER > 1) cluster_sync();
    RUN_ROLES(produce(s, &x, &weight, &residual, place, tiles, k_steps), consume(s, out, eps, place, tiles, k_steps, m SUM_ARGUMENT));
}

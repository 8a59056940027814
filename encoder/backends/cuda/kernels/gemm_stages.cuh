// What Hopper's own products share: x[M, K] @ weight[N, K]^T in tiles of 128 rows x TILE_N columns, float32 in registers, K from first to last in steps of 16.
//
// One warp feeds STAGES of shared memory by TMA, ahead of the products and across tiles; two warpgroups multiply 64 rows each. The blocks of a cluster
// hold CLUSTER_ROWS tiles of rows (they share the weights) or CLUSTER_COLUMNS tiles of columns (they share x): each loads its part of what is shared
// and multicasts it. A kernel defines TILE_N, STAGES, CLUSTER_ROWS and CLUSTER_COLUMNS (one of them 1) before it includes this.
#pragma once
#include "hopper.cuh"
#include "wgmma.cuh"

#define TILE_M 128
#define TILE_K 64
#define THREADS 384
#define CLUSTER (CLUSTER_ROWS * CLUSTER_COLUMNS)
#define PARTS (TILE_N > 256 ? 2 : 1)  // a product has at most 256 columns
#define PART_N (TILE_N / PARTS)
#define A_BYTES (TILE_M * TILE_K * 2)
#define B_BYTES (TILE_N * TILE_K * 2)
#if CLUSTER_ROWS > 1 && CLUSTER_COLUMNS > 1
#error a cluster shares weights or x
#endif

struct Stage {
    alignas(1024) unsigned char a[A_BYTES];
    unsigned char b[B_BYTES];
};

struct Barriers { unsigned long long full[STAGES], empty[STAGES]; };

// Where a block stands: its rank in its cluster, and which of the clusters it is.
struct Place {
    int rank, cluster, clusters;
    __device__ __forceinline__ Place() : rank(CLUSTER > 1 ? cluster_rank() : 0), cluster(blockIdx.x / CLUSTER), clusters(gridDim.x / CLUSTER) {}
};

__device__ __forceinline__ void prepare(Barriers& barriers) {
    for (int i = 0; i < STAGES; ++i) {
        barrier_init(shared_address(&barriers.full[i]), 1);
        barrier_init(shared_address(&barriers.empty[i]), 8 * CLUSTER);  // a word from each multiplying warp of the cluster
    }
}

// Wait until the next stage may be written, and say how many bytes will come. -> its barrier
__device__ __forceinline__ bits32 claim(Barriers& barriers, const Ring<STAGES>& ring, int bytes) {
    bits32 full = shared_address(&barriers.full[ring.stage]);
    barrier_wait(shared_address(&barriers.empty[ring.stage]), ring.parity ^ 1);
    barrier_expect(full, bytes);
    return full;
}

// Columns k .. k + 63 of TILE_M rows of x and of TILE_N rows of the weight.
__device__ __forceinline__ void load_stage(Stage& stage, bits32 full, const TensorMap* x, const TensorMap* weight, int rank, int k, int row, int column) {
    const int x_rows = TILE_M / CLUSTER_COLUMNS, weight_rows = PART_N / CLUSTER_ROWS;
    const unsigned short everyone = (1 << CLUSTER) - 1;
    bits32 a = shared_address(stage.a), b = shared_address(stage.b);
    if (CLUSTER_COLUMNS == 1) tma_load(a, x, full, k, row);
    else tma_load_multicast(a + rank * (A_BYTES / CLUSTER_COLUMNS), x, full, k, row + rank * x_rows, everyone);
#pragma unroll
    for (int part = 0; part < PARTS; ++part) {
        bits32 to = b + part * (PART_N * TILE_K * 2);
        if (CLUSTER_ROWS == 1) tma_load(to, weight, full, k, column + part * PART_N);
        else tma_load_multicast(to + rank * (weight_rows * TILE_K * 2), weight, full, k, column + part * PART_N + rank * weight_rows, everyone);
    }
}

__device__ __forceinline__ void release(Barriers& barriers, int stage) {
    int lane = threadIdx.x & 31;
    if (lane < CLUSTER) barrier_arrive(shared_address(&barriers.empty[stage]), lane);
}

// The same for a stage that this warp has read itself, not its products.
__device__ __forceinline__ void release_read(Barriers& barriers, int stage) {
    int lane = threadIdx.x & 31;
    __syncwarp();
    if (lane < CLUSTER) barrier_arrive_read(shared_address(&barriers.empty[stage]), lane);
}

// d = the products of a tile's k_steps stages; 64 rows of the warpgroup `group`
__device__ __forceinline__ void multiply(const Stage* stages, Barriers& barriers, Ring<STAGES>& ring, float (&d)[PARTS][PART_N / 2], int group, int k_steps) {
    int last = 0;
#if PARTS > 1
#pragma unroll 1  // 192 values a thread leave no registers for several copies of this
#endif
    for (int k = 0; k < k_steps; ++k) {
        barrier_wait(shared_address(&barriers.full[ring.stage]), ring.parity);
        const Stage& stage = stages[ring.stage];
        unsigned long long a = tile_descriptor(shared_address(stage.a) + group * (A_BYTES / 2)), b = tile_descriptor(shared_address(stage.b));
        wgmma_fence();
#pragma unroll
        for (int step = 0; step < TILE_K / 16; ++step)
#pragma unroll
            for (int part = 0; part < PARTS; ++part) multiply_tile(d[part], a + step * 2, b + part * (PART_N * TILE_K * 2 >> 4) + step * 2, k | step);
        wgmma_commit();
        if (k > 0) {
            wgmma_wait<1>();
            release(barriers, last);
        }
        last = ring.stage;
        ring.advance();
    }
    wgmma_wait<0>();
#pragma unroll
    for (int part = 0; part < PARTS; ++part) hold(d[part]);
    release(barriers, last);
}

// Where this lane's piece of matrices of 8 x 8 lies (stmatrix, ldmatrix) in rows of 128 bytes from first_row on, swizzled by 128 bytes: columns 8 chunk .. 8 chunk + 15.
__device__ __forceinline__ bits32 matrix_offset(int first_row, int chunk) {
    int lane = threadIdx.x & 31, row = first_row + (lane & 15);
    return row * 128 + (((chunk + (lane >> 4)) ^ (row & 7)) << 4);
}

// Who copies and who multiplies: registers go from the first to the second.
#define RUN_ROLES(copies, multiplies) \
    if (threadIdx.x < 128) { \
        give_registers<40>(); \
        if (threadIdx.x == 0) copies; \
        __syncwarp(); \
    } else { \
        take_registers<232>(); \
        multiplies; \
    } \
    if (CLUSTER > 1) cluster_sync()  // nobody leaves while another still writes here

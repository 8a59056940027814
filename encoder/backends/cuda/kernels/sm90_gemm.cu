// out[M, N] = activation(x[M, K] @ weight[N, K]^T + bias[N]) for Hopper, the activation inside the product's own epilogue.
// Bound: tensor cores (and the card's power); M * N * 2 bytes less to write and to read again than product and activation apart.
//
// A persistent grid walks over tiles, N first, so that one stripe of x is read from memory once and then from L2. The blocks of a cluster share weights.
#define CLUSTER_COLUMNS 1
#include "gemm_stages.cuh"
#include "../../cupy/kernels/activation.cuh"

#define BOXES (TILE_N % 128 ? 1 : 2)  // of 64 columns, per warpgroup and round
#define ROUNDS (TILE_N / (64 * BOXES))
#define BOX_BYTES (64 * 64 * 2)       // 64 rows x 64 columns on their way out

struct Shared {
    Stage stages[STAGES];
    alignas(1024) unsigned char out[2][BOXES][BOX_BYTES];
    Barriers barriers;
};

struct Tiles {
    int rows, columns, k_steps;
    __device__ __forceinline__ int row(int tile, int rank) const { return (tile / columns * CLUSTER_ROWS + rank) * TILE_M; }
    __device__ __forceinline__ int column(int tile) const { return tile % columns * TILE_N; }
};

__device__ __forceinline__ void produce(Shared& s, const TensorMap* x, const TensorMap* weight, Place place, Tiles tiles) {
    Ring<STAGES> ring;
    for (int tile = place.cluster; tile < tiles.rows * tiles.columns; tile += place.clusters)
        for (int k = 0; k < tiles.k_steps; ++k) {
            bits32 full = claim(s.barriers, ring, A_BYTES + B_BYTES);
            load_stage(s.stages[ring.stage], full, x, weight, place.rank, k * TILE_K, tiles.row(tile, place.rank), tiles.column(tile));
            ring.advance();
        }
}

// BOXES x 64 columns of a warpgroup's 64 rows, two values a word as tensor cores leave them -> boxes -> global
__device__ __forceinline__ void write_boxes(unsigned char (&boxes)[BOXES][BOX_BYTES], const bits32 (&packed)[BOXES * 16], const TensorMap* out, int group, int row, int column) {
    int thread = threadIdx.x & 127;
    bits32 to = shared_address(boxes);
    if (thread == 0) tma_store_wait_read();  // what was written before has left
    named_barrier(1 + group, 128);
#pragma unroll
    for (int j = 0; j < BOXES * 8; j += 2)
        store_matrices(to + (j >> 3) * BOX_BYTES + matrix_offset(thread / 32 * 16, j & 7), packed[2 * j], packed[2 * j + 1], packed[2 * j + 2], packed[2 * j + 3]);
    fence_shared_for_tma();
    named_barrier(1 + group, 128);
    if (thread == 0) {
        for (int box = 0; box < BOXES; ++box) tma_store(out, to + box * BOX_BYTES, column + box * 64, row);
        tma_store_commit();
    }
}

__device__ __forceinline__ void consume(Shared& s, const TensorMap* out, const float* bias, Place place, Tiles tiles) {
    int group = threadIdx.x / 128 - 1, lane = threadIdx.x & 31;
    Ring<STAGES> ring;
    float d[PARTS][PART_N / 2];
    for (int tile = place.cluster; tile < tiles.rows * tiles.columns; tile += place.clusters) {
        int row = tiles.row(tile, place.rank) + group * 64, column = tiles.column(tile);
        multiply(s.stages, s.barriers, ring, d, group, tiles.k_steps);
#pragma unroll
        for (int round = 0; round < ROUNDS; ++round) {
            bits32 packed[BOXES * 16];
#pragma unroll
            for (int j = 0; j < BOXES * 8; ++j) {  // tiles of 8 columns
                const int n = round * BOXES * 8 + j;
                const float* v = d[n / (PART_N / 8)] + n % (PART_N / 8) * 4;
                float2 b = __ldg((const float2*)(bias + column + n * 8 + (lane & 3) * 2));
                packed[2 * j] = pack_two(activate(v[0] + b.x), activate(v[1] + b.y));
                packed[2 * j + 1] = pack_two(activate(v[2] + b.x), activate(v[3] + b.y));
            }
            write_boxes(s.out[group], packed, out, group, row, column + round * BOXES * 64);
        }
    }
    if ((threadIdx.x & 127) == 0) tma_store_wait_read();
}

extern "C" __global__ void
#if CLUSTER > 1
__cluster_dims__(CLUSTER, 1, 1)
#endif
__launch_bounds__(THREADS, 1) gemm_wgmma(
    const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight, const __grid_constant__ TensorMap out, const float* bias, int m, int n, int k) {
    SHARED_MEMORY(memory);
    Shared& s = *reinterpret_cast<Shared*>(memory);
    const Place place;
    Tiles tiles = {(m + TILE_M * CLUSTER_ROWS - 1) / (TILE_M * CLUSTER_ROWS), n / TILE_N, k / TILE_K};
    if (threadIdx.x == 0) {
        tma_prefetch_map(&x); tma_prefetch_map(&weight); tma_prefetch_map(&out);
        prepare(s.barriers);
        barrier_init_visible();
    }
    __syncthreads();
    if (CLUSTER > 1) cluster_sync();
    RUN_ROLES(produce(s, &x, &weight, place, tiles), consume(s, &out, bias, place, tiles));
}

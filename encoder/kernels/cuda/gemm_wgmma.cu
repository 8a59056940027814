// out[M, N] = activation(x[M, K] @ weight[N, K]^T + bias[N]) for Hopper, the activation inside the product's own epilogue.
// Bound: tensor cores (and the card's power); M * N * 2 bytes less to write and to read again than product and activation apart.
//
// A persistent grid walks over tiles of 128 x TILE_N, N first, so that one stripe of x is read from memory once and then from L2. One warp feeds
// STAGES of shared memory by TMA, ahead of the products and across tiles; two warpgroups multiply 64 rows each. CTAs in a cluster of two hold different
// rows and share the weights: each loads half and multicasts it. K is summed from first to last in steps of 16, for every M.
#include "hopper.cuh"
#include "../portable/activation.cuh"
#include "wgmma.cuh"

#define TILE_M 128
#define TILE_K 64
#define THREADS 384
#define A_BYTES (TILE_M * TILE_K * 2)
#define B_BYTES (TILE_N * TILE_K * 2)
#define BOX_BYTES (64 * 64 * 2)             // 64 rows x 64 columns on their way out
#define BOXES (TILE_N % 128 ? 1 : 2)        // of them per warpgroup
#define ROUNDS (TILE_N / (64 * BOXES))

struct Shared {
    alignas(1024) unsigned char a[STAGES][A_BYTES];
    alignas(1024) unsigned char b[STAGES][B_BYTES];
    alignas(1024) unsigned char out[2][BOXES][BOX_BYTES];
    alignas(8) unsigned long long full[STAGES];
    unsigned long long empty[STAGES];
};

__device__ __forceinline__ void produce(Shared& s, const TensorMap* x, const TensorMap* weight, int rank, int cluster, int clusters, int m_tiles, int n_tiles, int k_steps) {
    Ring<STAGES> ring;
    for (int tile = cluster; tile < m_tiles * n_tiles; tile += clusters) {
        int row = (tile / n_tiles * CLUSTER + rank) * TILE_M, column = tile % n_tiles * TILE_N;
        for (int k = 0; k < k_steps; ++k) {
            bits32 full = shared_address(&s.full[ring.stage]);
            barrier_wait(shared_address(&s.empty[ring.stage]), ring.parity ^ 1);
            barrier_expect(full, A_BYTES + B_BYTES);
            tma_load(shared_address(s.a[ring.stage]), x, full, k * TILE_K, row);
#if CLUSTER == 1
            tma_load(shared_address(s.b[ring.stage]), weight, full, k * TILE_K, column);
#else
            tma_load_multicast(shared_address(s.b[ring.stage]) + rank * (B_BYTES / CLUSTER), weight, full, k * TILE_K, column + rank * (TILE_N / CLUSTER), (1 << CLUSTER) - 1);
#endif
            ring.advance();
        }
    }
}

__device__ __forceinline__ void release(Shared& s, int stage, int lane) {
    if (lane < CLUSTER) barrier_arrive(shared_address(&s.empty[stage]), lane);
}

// activation(d + bias) of 64 rows x TILE_N columns -> shared memory -> global, BOXES boxes of 64 columns at a time
__device__ __forceinline__ void write_tile(Shared& s, float (&d)[TILE_N / 2], const float* bias, const TensorMap* out, int group, int row, int column) {
    int lane = threadIdx.x & 31, warp = (threadIdx.x >> 5) & 3, thread = threadIdx.x & 127;
    int box_row = warp * 16 + (lane >> 3 & 1) * 8 + (lane & 7), box_chunk = lane >> 4;
    bits32 boxes = shared_address(s.out[group]);
#pragma unroll
    for (int round = 0; round < ROUNDS; ++round) {
        bits32 packed[BOXES * 16];
#pragma unroll
        for (int j = 0; j < BOXES * 8; ++j) {  // tiles of 8 columns
            int n = round * BOXES * 8 + j;
            float2 b = __ldg((const float2*)(bias + column + n * 8 + (lane & 3) * 2));
            packed[2 * j] = pack_two(activate(d[4 * n] + b.x), activate(d[4 * n + 1] + b.y));
            packed[2 * j + 1] = pack_two(activate(d[4 * n + 2] + b.x), activate(d[4 * n + 3] + b.y));
        }
        if (thread == 0) tma_store_wait_read();  // what was written before has left
        named_barrier(1 + group, 128);
#pragma unroll
        for (int j = 0; j < BOXES * 8; j += 2) {
            int chunk = (j & 7) + box_chunk;
            store_matrices(boxes + (j >> 3) * BOX_BYTES + box_row * 128 + ((chunk ^ (box_row & 7)) << 4), packed[2 * j], packed[2 * j + 1], packed[2 * j + 2], packed[2 * j + 3]);
        }
        fence_shared_for_tma();
        named_barrier(1 + group, 128);
        if (thread == 0) {
            for (int box = 0; box < BOXES; ++box) tma_store(out, boxes + box * BOX_BYTES, column + (round * BOXES + box) * 64, row);
            tma_store_commit();
        }
    }
}

__device__ __forceinline__ void consume(Shared& s, const TensorMap* out, const float* bias, int rank, int cluster, int clusters, int m_tiles, int n_tiles, int k_steps) {
    int group = threadIdx.x / 128 - 1, lane = threadIdx.x & 31;
    Ring<STAGES> ring;
    float d[TILE_N / 2];
    for (int tile = cluster; tile < m_tiles * n_tiles; tile += clusters) {
        int row = (tile / n_tiles * CLUSTER + rank) * TILE_M + group * 64, column = tile % n_tiles * TILE_N;
        int last = 0;
        for (int k = 0; k < k_steps; ++k) {
            barrier_wait(shared_address(&s.full[ring.stage]), ring.parity);
            unsigned long long a = tile_descriptor(shared_address(s.a[ring.stage]) + group * (A_BYTES / 2)), b = tile_descriptor(shared_address(s.b[ring.stage]));
            wgmma_fence();
#pragma unroll
            for (int step = 0; step < TILE_K / 16; ++step) multiply_tile(d, a + step * 2, b + step * 2, k | step);
            wgmma_commit();
            if (k > 0) {
                wgmma_wait<1>();
                release(s, last, lane);
            }
            last = ring.stage;
            ring.advance();
        }
        wgmma_wait<0>();
        hold(d);
        release(s, last, lane);
        write_tile(s, d, bias, out, group, row, column);
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
    Shared& s = *reinterpret_cast<Shared*>((reinterpret_cast<unsigned long long>(memory) + 1023) & ~1023ull);
    int rank = CLUSTER > 1 ? cluster_rank() : 0, cluster = blockIdx.x / CLUSTER, clusters = gridDim.x / CLUSTER;
    int m_tiles = (m + TILE_M * CLUSTER - 1) / (TILE_M * CLUSTER), n_tiles = n / TILE_N, k_steps = k / TILE_K;
    if (threadIdx.x == 0) {
        tma_prefetch_map(&x); tma_prefetch_map(&weight); tma_prefetch_map(&out);
        for (int i = 0; i < STAGES; ++i) {
            barrier_init(shared_address(&s.full[i]), 1);
            barrier_init(shared_address(&s.empty[i]), 8 * CLUSTER);  // a word from each multiplying warp of the cluster
        }
        barrier_init_visible();
    }
    __syncthreads();
    if (CLUSTER > 1) cluster_sync();
    if (threadIdx.x < 128) {
        give_registers<40>();
        if (threadIdx.x == 0) produce(s, &x, &weight, rank, cluster, clusters, m_tiles, n_tiles, k_steps);
        __syncwarp();
    } else {
        take_registers<232>();
        consume(s, &out, bias, rank, cluster, clusters, m_tiles, n_tiles, k_steps);
    }
    if (CLUSTER > 1) cluster_sync();  // nobody leaves while another still writes here
}

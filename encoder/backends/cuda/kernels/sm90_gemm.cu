// What follows a product, inside the product's own epilogue, for Hopper. Bound: tensor cores (and the card's power); M * N * 2 bytes less to write
// and to read again than apart.
//   plain       out[M, N] = activation(x[M, K] @ weight[N, K]^T + bias[N])
//   GATED       out[M, N / 2] = activation(gate) * up: the weight's rows are eight of the gate, eight of what it opens, eight of the gate, ...
//   ROTARY_DIM  out[M, N]: heads of ROTARY_DIM columns, of which those below `turned` are turned by their row's angles
// BIAS 0 (a define, with GATED or ROTARY_DIM): there is none. Where TILE_N does not divide N, the maps end earlier than the last tile; `n` is then that of whole tiles.
//
// A persistent grid walks over tiles, N first, so that one stripe of x is read from memory once and then from L2. The blocks of a cluster share weights.
#define CLUSTER_COLUMNS 1
#include "gemm_stages.cuh"
#include "../../cupy/kernels/activation.cuh"

#ifndef BIAS
#define BIAS 1
#endif
#ifndef GATED
#define GATED 0
#endif
#ifndef ROTARY_DIM
#define ROTARY_DIM 0
#endif

#define OUT_N (TILE_N / (GATED + 1))  // columns that a tile writes
#define BOXES (OUT_N % 128 ? 1 : 2)   // of 64 columns, per warpgroup and round
#define ROUNDS (OUT_N / (64 * BOXES))
#define BOX_BYTES (64 * 64 * 2)       // 64 rows x 64 columns on their way out

#if ROTARY_DIM
#define ROTARY_PARAMETERS , const float2* angles, const int* positions, int turned  // of the kernel
#define ROTATION {angles, positions, turned, m}
#else
#define ROTARY_PARAMETERS
#define ROTATION {}
#endif

// angles [., ROTARY_DIM / 2] of (cosine, sine), by the row's position, or by the row itself where there are no positions. turned: columns. rows: M.
struct Rotation { const float2* angles; const int* positions; int turned, rows; };

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

typedef float Values[PARTS][PART_N / 2];  // of a warpgroup's 64 rows, as tensor cores leave them

// The four values of this lane in tile n of 8 columns: two of its first row, two of the row eight below.
__device__ __forceinline__ float* values(Values& d, int n) { return d[n / (PART_N / 8)] + n % (PART_N / 8) * 4; }

#if GATED || ROTARY_DIM
// column: the tile's first
__device__ __forceinline__ void add_bias(float* v, const float* bias, int column) {
#if BIAS
    float2 b = __ldg((const float2*)(bias + column + (threadIdx.x & 3) * 2));
    v[0] += b.x; v[1] += b.y; v[2] += b.x; v[3] += b.y;
#endif
}
#endif

#if ROTARY_DIM
// The angles of this lane's two rows, those of its own columns: two neighbouring ones in each quad. They are fetched before the product begins; those
// of 128 wide heads, which do not fit into registers beside it, when they are needed.
#define HELD (ROTARY_DIM <= 64)

struct Angles {
    const float4* from[2];
    float4 held[HELD ? ROTARY_DIM / 16 : 1][2];

    __device__ __forceinline__ Angles(const Rotation& rotation, int row, bool needed) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            int r = row + half * 8;
            long long at = !needed || r >= rotation.rows ? 0 : rotation.positions ? __ldg(rotation.positions + r) : r;
            from[half] = (const float4*)(rotation.angles + at * (ROTARY_DIM / 2)) + (threadIdx.x & 3);
#pragma unroll
            for (int j = 0; HELD && j < ROTARY_DIM / 16; ++j)
                if (needed) held[j][half] = __ldg(from[half] + j * 4);
        }
    }

    __device__ __forceinline__ float4 of(int j, int half) const { return HELD ? held[HELD ? j : 0][half] : __ldg(from[half] + j * 4); }
};

// Turns the heads in 8 * COUNT columns from tile `first` on: column i of a head together with i + ROTARY_DIM / 2.
template <int COUNT> __device__ __forceinline__ void turn(Values& d, int first, const Angles& angles, int column, int turned) {
    if (column >= turned) return;
#pragma unroll
    for (int j = 0; j < ROTARY_DIM / 16; ++j)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float4 angle = angles.of(j, half);
#pragma unroll
            for (int head = 0; head < COUNT * 8 / ROTARY_DIM; ++head) {
                if (column + head * ROTARY_DIM >= turned) continue;
                float* a = values(d, first + head * (ROTARY_DIM / 8) + j) + half * 2;
                float* b = values(d, first + head * (ROTARY_DIM / 8) + j + ROTARY_DIM / 16) + half * 2;
                float a0 = a[0], a1 = a[1];
                a[0] = fmaf(a0, angle.x, -b[0] * angle.y);
                a[1] = fmaf(a1, angle.z, -b[1] * angle.w);
                b[0] = fmaf(b[0], angle.x, a0 * angle.y);
                b[1] = fmaf(b[1], angle.z, a1 * angle.w);
            }
        }
}
#endif

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

__device__ __forceinline__ void consume(Shared& s, const TensorMap* out, const float* bias, Place place, Tiles tiles, Rotation rotation) {
    int group = threadIdx.x / 128 - 1, lane = threadIdx.x & 31;
    Ring<STAGES> ring;
    Values d;
    for (int tile = place.cluster; tile < tiles.rows * tiles.columns; tile += place.clusters) {
        int row = tiles.row(tile, place.rank) + group * 64, column = tiles.column(tile);
#if ROTARY_DIM
        const Angles angles(rotation, row + threadIdx.x / 32 % 4 * 16 + (lane >> 2), column < rotation.turned);
#endif
        multiply(s.stages, s.barriers, ring, d, group, tiles.k_steps);
#pragma unroll
        for (int round = 0; round < ROUNDS; ++round) {
            bits32 packed[BOXES * 16];
#if GATED
#pragma unroll
            for (int j = 0; j < BOXES * 8; ++j) {  // tiles of 8 columns: the gate's, and those that it opens
                const int n = (round * BOXES * 8 + j) * 2;
                float *gate = values(d, n), *up = values(d, n + 1);
                add_bias(gate, bias, column + n * 8);
                add_bias(up, bias, column + n * 8 + 8);
                packed[2 * j] = pack_two(activate(gate[0]) * up[0], activate(gate[1]) * up[1]);
                packed[2 * j + 1] = pack_two(activate(gate[2]) * up[2], activate(gate[3]) * up[3]);
            }
            write_boxes(s.out[group], packed, out, group, row, column / 2 + round * BOXES * 64);
#elif ROTARY_DIM
            const int first = round * BOXES * 8;
#pragma unroll
            for (int j = 0; j < BOXES * 8; ++j) add_bias(values(d, first + j), bias, column + (first + j) * 8);
            turn<BOXES * 8>(d, first, angles, column + first * 8, rotation.turned);
#pragma unroll
            for (int j = 0; j < BOXES * 8; ++j) {
                const float* v = values(d, first + j);
                packed[2 * j] = pack_two(v[0], v[1]);
                packed[2 * j + 1] = pack_two(v[2], v[3]);
            }
            write_boxes(s.out[group], packed, out, group, row, column + first * 8);
#else
#pragma unroll
            for (int j = 0; j < BOXES * 8; ++j) {  // tiles of 8 columns
                const int n = round * BOXES * 8 + j;
                const float* v = values(d, n);
                float2 b = __ldg((const float2*)(bias + column + n * 8 + (lane & 3) * 2));
                packed[2 * j] = pack_two(activate(v[0] + b.x), activate(v[1] + b.y));
                packed[2 * j + 1] = pack_two(activate(v[2] + b.x), activate(v[3] + b.y));
            }
            write_boxes(s.out[group], packed, out, group, row, column + round * BOXES * 64);
#endif
        }
    }
    if ((threadIdx.x & 127) == 0) tma_store_wait_read();
}

extern "C" __global__ void
#if CLUSTER > 1
__cluster_dims__(CLUSTER, 1, 1)
#endif
__launch_bounds__(THREADS, 1) gemm_wgmma(
    const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight, const __grid_constant__ TensorMap out, const float* bias, int m, int n, int k ROTARY_PARAMETERS) {
    SHARED_MEMORY(memory);
    Shared& s = *reinterpret_cast<Shared*>(memory);
    const Place place;
    const Rotation rotation = ROTATION;
    Tiles tiles = {(m + TILE_M * CLUSTER_ROWS - 1) / (TILE_M * CLUSTER_ROWS), n / TILE_N, k / TILE_K};
    if (threadIdx.x == 0) {
        tma_prefetch_map(&x); tma_prefetch_map(&weight); tma_prefetch_map(&out);
        prepare(s.barriers);
        barrier_init_visible();
    }
    __syncthreads();
    if (CLUSTER > 1) cluster_sync();
    RUN_ROLES(produce(s, &x, &weight, place, tiles), consume(s, &out, bias, place, tiles, rotation));
}

// Hopper's own instructions, one line each: barriers in shared memory, the bulk tensor copy engine (TMA), warpgroup products, clusters.
#pragma once
#include "ptx.cuh"

#define SHARED_MEMORY(name) extern __shared__ __align__(1024) unsigned char name[]

// How many registers a thread has from here on, of those that the block was launched with: its warpgroup gives some, or takes some that others gave.
template <int N> __device__ __forceinline__ void give_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N)); }
template <int N> __device__ __forceinline__ void take_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N)); }

// The compiler may not know what is computed from x before this place.
__device__ __forceinline__ void forget(int& x) { asm volatile("" : "+r"(x)); }

struct alignas(64) TensorMap { unsigned long long opaque[16]; };  // CUtensorMap, made on the host

__device__ __forceinline__ void barrier_init(bits32 barrier, int arrivals) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals)); }
__device__ __forceinline__ void barrier_init_visible() { asm volatile("fence.mbarrier_init.release.cluster;"); }

__device__ __forceinline__ void barrier_expect(bits32 barrier, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

__device__ __forceinline__ void barrier_arrive(bits32 barrier) { asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory"); }

// Arrive on the barrier at the same place in CTA `rank` of the cluster. Relaxed: it says that products have read their operands, which the wait for
// them has seen; nothing written here is read there. A release at this scope is a fence over the whole card (MEMBAR.ALL.GPU), for every stage.
__device__ __forceinline__ void barrier_arrive(bits32 barrier, int rank) {
    asm volatile("{ .reg .b32 r; mapa.shared::cluster.u32 r, %0, %1; mbarrier.arrive.relaxed.cluster.shared::cluster.b64 _, [r]; }" ::"r"(barrier), "r"(rank) : "memory");
}

// The same by a warp that has read the stage itself: those reads come first.
__device__ __forceinline__ void barrier_arrive_read(bits32 barrier, int rank) {
    asm volatile("{ .reg .b32 r; mapa.shared::cluster.u32 r, %0, %1; mbarrier.arrive.release.cta.shared::cluster.b64 _, [r]; }" ::"r"(barrier), "r"(rank) : "memory");
}

// Two numbers into the same place of CTA `rank`, counted as bytes at its barrier.
__device__ __forceinline__ void send(bits32 to, float2 value, bits32 barrier, int rank) {
    asm volatile("{ .reg .b32 t, b; mapa.shared::cluster.u32 t, %0, %4; mapa.shared::cluster.u32 b, %1, %4; "
                 "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [t], {%2, %3}, [b]; }"
                 ::"r"(to), "r"(barrier), "f"(value.x), "f"(value.y), "r"(rank) : "memory");
}

// What the copy engine brought is seen by whoever waited for its bytes; an acquire for the cluster would empty the L1 cache each time (CCTL.IVALL).
__device__ __forceinline__ void barrier_wait(bits32 barrier, int parity) {
    asm volatile("{ .reg .pred p; again: mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 p, [%0], %1; @p bra done; bra again; done: }" ::"r"(barrier), "r"(parity) : "memory");
}

__device__ __forceinline__ bool barrier_test(bits32 barrier, int parity) {
    int passed;
    asm volatile("{ .reg .pred p; mbarrier.test_wait.parity.acquire.cta.shared::cta.b64 p, [%1], %2; selp.b32 %0, 1, 0, p; }" : "=r"(passed) : "r"(barrier), "r"(parity) : "memory");
    return passed;
}

// Which of COUNT stages in shared memory comes next, and the parity of its round.
template <int COUNT> struct Ring {
    int stage = 0, parity = 0;
    __device__ __forceinline__ void advance() {
        if (++stage == COUNT) { stage = 0; parity ^= 1; }
    }
};

__device__ __forceinline__ void tma_load(bits32 to, const TensorMap* map, bits32 barrier, int column, int row) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];"
                 ::"r"(to), "l"(map), "r"(barrier), "r"(column), "r"(row) : "memory");
}

// The same bytes into the same place of every CTA in `mask`, each told at its own barrier.
__device__ __forceinline__ void tma_load_multicast(bits32 to, const TensorMap* map, bits32 barrier, int column, int row, unsigned short mask) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%3, %4}], [%2], %5;"
                 ::"r"(to), "l"(map), "r"(barrier), "r"(column), "r"(row), "h"(mask) : "memory");
}

__device__ __forceinline__ void tma_store(const TensorMap* map, bits32 from, int column, int row) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map), "r"(from), "r"(column), "r"(row) : "memory");
}
__device__ __forceinline__ void tma_store_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
__device__ __forceinline__ void tma_store_wait_read() { asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory"); }
__device__ __forceinline__ void tma_prefetch_map(const TensorMap* map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }

// Ordinary stores to shared memory become visible to the copy engine.
__device__ __forceinline__ void fence_shared_for_tma() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> __device__ __forceinline__ void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }

// The compiler keeps what is computed from d behind this place: a product's registers may be read only after the wait for it.
template <int N> __device__ __forceinline__ void hold(float (&d)[N]) {
#pragma unroll
    for (int i = 0; i < N; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

// A tile of rows of 128 bytes, swizzled by 128 bytes, K along the row.
__device__ __forceinline__ unsigned long long tile_descriptor(bits32 address) {
    return (unsigned long long)((address & 0x3ffff) >> 4) | (1ull << 16) | (64ull << 32) | (1ull << 62);
}

__device__ __forceinline__ void named_barrier(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

__device__ __forceinline__ int cluster_rank() { int r; asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r)); return r; }
__device__ __forceinline__ void cluster_sync() { asm volatile("barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;" ::: "memory"); }

__device__ __forceinline__ void store_matrices(bits32 at, bits32 a, bits32 b, bits32 c, bits32 d) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(at), "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
}

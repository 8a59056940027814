// Single instructions that every kernel for tensor cores uses.
#pragma once
#include "../../cupy/kernels/storage.cuh"

__device__ __forceinline__ bits32 shared_address(const void* p) { return (bits32)__cvta_generic_to_shared(p); }

__device__ __forceinline__ bits32 pack_two(float low, float high) {
    bits32 both;
    asm(PACK_TWO : "=r"(both) : "f"(high), "f"(low));
    return both;
}

__device__ __forceinline__ void copy_async(bits32 to, const void* from, bool inside) {
    int bytes = inside ? 16 : 0;  // what is not read is zero
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes));
}
__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;"); }
template <int PENDING> __device__ __forceinline__ void copy_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory"); }

// Each call is a load: two registers from one that another call has read would cost more.
__device__ __forceinline__ void load_two(float& a, float& b, bits32 at) { asm volatile("ld.volatile.shared.v2.f32 {%0,%1}, [%2];" : "=f"(a), "=f"(b) : "r"(at)); }

__device__ __forceinline__ void load_matrices(bits32 (&to)[4], bits32 at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(at) : "memory");
}

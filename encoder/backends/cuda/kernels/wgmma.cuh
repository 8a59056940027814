// wgmma.mma_async, 64 rows by N columns by 16, one warpgroup. Inline PTX names each register, so the names are put together here by their number: the
// length of d (N / 2 values a thread) chooses N.
//   multiply_tile       d (+)= a b^T      a [64, 16] and b [N, 16] in shared memory, K along the row
//   multiply_registers  d += a b          a [64, 16] in registers, b [16, N] in shared memory, N along the row
#pragma once

#if STORAGE == 116
#define WGMMA_TYPES "bf16.bf16"
#else
#define WGMMA_TYPES "f16.f16"
#endif

// Operands %0 to %(count - 1), as the instruction names them
#define NAMES_16 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define NAMES_32 NAMES_16 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define NAMES_64 NAMES_32 \
    ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47" \
    ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define NAMES_96 NAMES_64 \
    ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79" \
    ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define NAMES_128 NAMES_96 \
    ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
    ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

// and as the compiler binds them
#define BOUND_8(d, i) \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define BOUND_16(d, i) BOUND_8(d, i), BOUND_8(d, i + 8)
#define BOUND_32(d, i) BOUND_16(d, i), BOUND_16(d, i + 16)
#define BOUND_64(d) BOUND_32(d, 0), BOUND_32(d, 32)
#define BOUND_96(d) BOUND_64(d), BOUND_32(d, 64)
#define BOUND_128(d) BOUND_96(d), BOUND_32(d, 96)

// count: values a thread. a, b, p: numbers of the operands after them
#define MULTIPLY_TILE(count, n, bound, a_at, b_at, p_at) \
    __device__ __forceinline__ void multiply_tile(float (&d)[count], unsigned long long a, unsigned long long b, int accumulate) { \
        asm volatile( \
            "{ .reg .pred p; setp.ne.b32 p, %" #p_at ", 0; wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." WGMMA_TYPES " " \
            "{" NAMES_##count "}, %" #a_at ", %" #b_at ", p, 1, 1, 0, 0; }" \
            : bound \
            : "l"(a), "l"(b), "r"(accumulate)); \
    }

MULTIPLY_TILE(16, 32, BOUND_16(d, 0), 16, 17, 18)
MULTIPLY_TILE(32, 64, BOUND_32(d, 0), 32, 33, 34)
MULTIPLY_TILE(64, 128, BOUND_64(d), 64, 65, 66)
MULTIPLY_TILE(96, 192, BOUND_96(d), 96, 97, 98)
MULTIPLY_TILE(128, 256, BOUND_128(d), 128, 129, 130)

// a0 to a3: the registers of a
#define MULTIPLY_REGISTERS(count, n, bound, a0, a1, a2, a3, b_at) \
    __device__ __forceinline__ void multiply_registers(float (&d)[count], const bits32 (&a)[4], unsigned long long b) { \
        asm volatile( \
            "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." WGMMA_TYPES " " \
            "{" NAMES_##count "}, {%" #a0 ", %" #a1 ", %" #a2 ", %" #a3 "}, %" #b_at ", 1, 1, 1, 1;" \
            : bound \
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b)); \
    }

MULTIPLY_REGISTERS(16, 32, BOUND_16(d, 0), 16, 17, 18, 19, 20)
MULTIPLY_REGISTERS(32, 64, BOUND_32(d, 0), 32, 33, 34, 35, 36)

/* Functions for processors that have more than the compiler assumes; which of them run is decided when the program does. */
#define PRAGMA(x) _Pragma(#x)
#if defined(__clang__)
#define BEGIN_TARGET(features) PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define END_TARGET PRAGMA(clang attribute pop)
#else
#define BEGIN_TARGET(features) PRAGMA(GCC push_options) PRAGMA(GCC target(features))
#define END_TARGET PRAGMA(GCC pop_options)
#endif
#define BEGIN_TARGET_AVX2 BEGIN_TARGET("avx2,fma")
#define BEGIN_TARGET_AVX512 BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")
#define BEGIN_TARGET_VNNI BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#define BEGIN_TARGET_BF16 BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")
#define BEGIN_TARGET_AMX BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,amx-tile,amx-int8,amx-bf16")

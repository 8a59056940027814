/* LayerNorm and attention on AVX-512. */
#if defined(__x86_64__)
#include "targets.h"
BEGIN_TARGET_AVX512
#define VW 16
#include "vectors.h"
#define NAME(x) avx512_##x
#include "rows.h"
END_TARGET
#else
typedef int nothing_for_this_processor;
#endif

/* LayerNorm and attention on AVX2. */
#if defined(__x86_64__)
#include "targets.h"
BEGIN_TARGET_AVX2
#define VW 8
#include "vectors.h"
#define NAME(x) avx2_##x
#include "rows.h"
END_TARGET
#else
typedef int nothing_for_this_processor;
#endif

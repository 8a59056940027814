/* bfloat16 on AMX: pairs are multiplied and added to a float32 sum; numbers below the normal ones count as 0. */
#if defined(__x86_64__)
#include "targets.h"
BEGIN_TARGET_AMX
#define VW 16
#include "vectors.h"
#include "bfloat16.h"
#define NAME(x) amx_bf16_##x
#define EL 2
#define FLOATING 1
#define TDP _tile_dpbf16ps
#include "amx_tile.h"
#include "products.h"
END_TARGET
#else
typedef int nothing_for_this_processor;
#endif

/* int8 on AMX. */
#if defined(__x86_64__)
#include "targets.h"
BEGIN_TARGET_AMX
#define VW 16
#include "vectors.h"
#define NAME(x) amx_int8_##x
#define EL 1
#define FLOATING 0
#define TDP _tile_dpbusd
#include "amx_tile.h"

#include "bytes.h"
#include "products.h"
END_TARGET
#else
typedef int nothing_for_this_processor;
#endif

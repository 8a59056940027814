/* What this processor has and its operating system saves between threads, as bits in the order of FEATURES in features.py. */
#include <stdint.h>
#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

static uint64_t saved_state(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((uint64_t)high << 32) | low;
}

/* Linux gives the tiles' 8 KB of state to those processes only that ask for them. */
static int may_use_tiles(void) {
#if defined(__linux__) && defined(SYS_arch_prctl)
    return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
#else
    return 0;
#endif
}

uint32_t cpu_features(void) {
    uint32_t a, b, c, d, found = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 27)) || !(c & (1u << 12))) return 0; /* OSXSAVE, FMA */
    uint64_t state = saved_state();
    if ((state & 6) != 6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    uint32_t leaf_b = b, leaf_c = c, leaf_d = d, more = 0;
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) more = a;
    if (leaf_b & (1u << 5)) found |= 1; /* avx2 */
    const uint32_t needed = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31); /* F, DQ, BW, VL */
    if ((state & 0xe6) == 0xe6 && (leaf_b & needed) == needed) {
        found |= 2; /* avx512 */
        if (leaf_c & (1u << 11)) found |= 4;
        if (more & (1u << 5)) found |= 8;
        if ((leaf_d & (1u << 24)) && (state & 0x60000) == 0x60000 && may_use_tiles()) {
            if (leaf_d & (1u << 25)) found |= 16;
            if (leaf_d & (1u << 22)) found |= 32;
        }
    }
    return found;
}
#else
uint32_t cpu_features(void) { return 0; }
#endif

/* 32 rows by 32 outputs in four tiles: what both precisions on AMX share. TDP: the product of two tiles, added to a third. */
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} TileConfig;

/* What was written before is in memory before a tile is loaded from there: compilers do not see that the instruction reads. */
#define ORDERED(pointer) __asm__ volatile("" : : "r"(pointer) : "memory");

#define BEGIN                                                            \
    TileConfig config __attribute__((aligned(64)));                      \
    memset(&config, 0, sizeof config);                                   \
    config.palette = 1;                                                  \
    for (int i = 0; i < 8; i++) config.row_bytes[i] = 64, config.rows[i] = 16; \
    ORDERED(&config)                                                     \
    _tile_loadconfig(&config);
#define END _tile_release();
#define TILED
#define MR 32
#define PANELS 2

INLINE void tile(const char *x, int64_t row, int64_t lines, const char *weight, int two, int32_t *sums) {
    const char *upper = x + row / 16 * lines * 1024, *lower = upper + lines * 1024, *second = weight + lines * 1024;
    ORDERED(x)
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t line = 0; line < lines; line++) {
        _tile_loadd(4, upper + line * 1024, 64);
        _tile_loadd(6, weight + line * 1024, 64);
        TDP(0, 4, 6);
        _tile_loadd(5, lower + line * 1024, 64);
        TDP(1, 5, 6);
        if (two) {
            _tile_loadd(7, second + line * 1024, 64);
            TDP(2, 4, 7);
            TDP(3, 5, 7);
        }
    }
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + 256, 64);
    if (two) {
        _tile_stored(2, sums + 512, 64);
        _tile_stored(3, sums + 768, 64);
    }
}

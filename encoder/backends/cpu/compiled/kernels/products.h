/* activation(x @ weight.T + bias) in 8 or 16 bits: included once for each path, with VW, MR, EL (bytes of an element) and the product of one tile.

Rows of x are brought to the path's elements, ROWS of them at a time; then each panel of 16 outputs meets all of them. A row's sums run over K in one
order that depends on nothing but K, so its bits do not depend on how many rows there are, or where it stands.

A line is 64 bytes. Elements of x lie in lines along K; the weight lies in panels of 16 outputs, [K/g][16][g] with g = 4 / EL, a line for each g of K.
*/
#include "product.h"

#define LINE 64
#define ROWS 192

/* Where line `line` of row `row` stands; TILED: sixteen rows of one line lie together, as a tile is loaded. */
INLINE int64_t line_at(int64_t row, int64_t line, int64_t lines) {
#ifdef TILED
    return ((row / 16 * lines + line) * 16 + row % 16) * LINE;
#else
    return (row * lines + line) * LINE;
#endif
}

typedef struct {
    float step, low;
} Row;

#if !FLOATING
/* One row to whole numbers from 0 to 255: x is low + step q, to half a step. A row that is not finite gets a step of NaN. */
INLINE Row quantize_row(const float *x, int64_t columns, int64_t row, int64_t lines, char *out) {
    vf most = v_set(x[0]), least = most, poison = v_set(0);
    for (int64_t k = 0; k < columns; k += VW) {
        const int64_t left = columns - k;
        vf value = left >= VW ? v_load(x + k) : v_load_rest(x + k, left, x[0]);
        most = v_max(most, value);
        least = v_min(least, value);
        poison = v_fma(value, v_set(0), poison);
    }
    const float low = v_least(least), range = v_largest(most) - low, inverse = range > 1e-30f ? 255.0f / range : 0.0f;
    for (int64_t line = 0; line < lines; line++) {
        int32_t values[LINE / EL] __attribute__((aligned(64)));
        for (int64_t i = 0; i < LINE / EL; i += VW) {
            int64_t at = line * (LINE / EL) + i, left = columns - at;
            vf value = left >= VW ? v_load(x + at) : left > 0 ? v_load_some(x + at, left) : v_set(low);
            vi rounded = v_round(v_mul(v_sub(value, v_set(low)), v_set(inverse)));
            memcpy(values + i, &rounded, sizeof rounded);
        }
        store_line(out + line_at(row, line, lines), values);
    }
    return (Row){range / 255.0f + v_sum(poison), low};
}
#else
/* One row to bfloat16, to the nearest, ties to even. */
INLINE Row quantize_row(const float *x, int64_t columns, int64_t row, int64_t lines, char *out) {
    for (int64_t line = 0; line < lines; line++) {
        for (int64_t i = 0; i < LINE / EL; i += VW) {
            int64_t at = line * (LINE / EL) + i, left = columns - at;
            vf value = left >= VW ? v_load(x + at) : left > 0 ? v_load_some(x + at, left) : v_set(0);
            store_bfloat16(out + line_at(row, line, lines) + i * EL, value);
        }
    }
    return (Row){1, 0};
}
#endif

INLINE void finish_row(const Product *p, int64_t panel, const int32_t *sums, Row row, float *y) {
    const int64_t left = p->outputs - panel * 16;
    for (int64_t i = 0; i < 16 && i < left; i += VW) {
        const int64_t n = panel * 16 + i;
        vf value = v_load(p->bias + n);
#if FLOATING
        (void)row;
        value = v_add(v_load((const float *)sums + i), value);
#else
        value = v_fma(v_set(row.low), v_load(p->sums + n), value);
        value = v_fma(v_mul(v_float(v_load_int(sums + i)), v_set(row.step)), v_load(p->scale + n), value);
#endif
        value = v_activate(value, p->activation);
        if (left - i >= VW) v_store(y + n, value);
        else v_store_some(y + n, value, left - i);
    }
}

/* x: [rows, columns] with `x_pitch` floats from row to row, y: [rows, outputs] with y_pitch. scratch: ROWS * (lines * 64 + 8) bytes, aligned to 64. */
void NAME(product)(const Product *p, const float *x, int64_t x_pitch, int64_t rows, float *y, int64_t y_pitch, char *scratch) {
    Row *held = (Row *)(scratch + ROWS * p->lines * LINE);
    int64_t panels = (p->outputs + 15) / 16;
    BEGIN
    for (int64_t first = 0; first < rows; first += ROWS) {
        int64_t count = rows - first < ROWS ? rows - first : ROWS, padded = (count + MR - 1) / MR * MR;
        for (int64_t row = 0; row < count; row++) held[row] = quantize_row(x + (first + row) * x_pitch, p->columns, row, p->lines, scratch);
        for (int64_t row = count; row < padded; row++)
            for (int64_t line = 0; line < p->lines; line++) memset(scratch + line_at(row, line, p->lines), 0, LINE);
        for (int64_t panel = 0; panel < panels; panel += PANELS) {
            int two = PANELS == 2 && panel + 1 < panels;
            const char *weight = p->weight + panel * p->lines * 16 * LINE;
            for (int64_t row = 0; row < padded; row += MR) {
                int32_t sums[PANELS * MR * 16] __attribute__((aligned(64)));
                tile(scratch, row, p->lines, weight, two, sums);
                for (int64_t i = 0; i < MR && row + i < count; i++) {
                    float *to = y + (first + row + i) * y_pitch;
                    finish_row(p, panel, sums + i * 16, held[row + i], to);
                    if (two) finish_row(p, panel + 1, sums + (MR + i) * 16, held[row + i], to);
                }
            }
        }
    }
    END
}

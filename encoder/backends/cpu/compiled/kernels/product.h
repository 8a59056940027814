/* A planned product: `Product` of library.py. Outputs lie in panels of sixteen, filled up with zeros. */
#include <stdint.h>

typedef struct {
    const char *weight; /* [panels][lines * 16] lines of 64 bytes */
    const float *scale; /* [panels * 16], what 1 in the weights of each output stands for; unused for bfloat16 and float32 */
    const float *sums;  /* [panels * 16], the sum of the weights of each output, in that scale; unused for bfloat16 and float32 */
    const float *bias;  /* [panels * 16] */
    int64_t columns, lines, outputs;
    int32_t activation;
} Product;

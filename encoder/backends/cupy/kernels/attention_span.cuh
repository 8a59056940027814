// Which keys a group of queries sees. WINDOW (a define, optional): those with |k - q| <= WINDOW; else all of the document. KEYS: of a block.
#pragma once

// The first key of the block that holds the first key that row `row` of a document sees.
__device__ __forceinline__ int first_key(int row) {
#ifdef WINDOW
    return row > WINDOW ? (row - WINDOW) / KEYS * KEYS : 0;
#else
    return 0;
#endif
}

// One past the last key that rows up to `end` - 1 see, in a document of `length` tokens.
__device__ __forceinline__ int last_key(int end, int length) {
#ifdef WINDOW
    return end + WINDOW < length ? end + WINDOW : length;
#else
    return length;
#endif
}

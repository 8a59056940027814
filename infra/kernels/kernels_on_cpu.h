// Our kernels on a CPU: those of portable/ as ROCm sees them, and those of cuda/ that are made of hopper.cuh and wgmma.cuh, whose instructions are here.
//
// One cluster at a time, a fiber for each thread of it, which runs until it has to wait. Either all warps keep step and what is asynchronous (copies,
// products) happens at once, or, `late`, each warp runs as far ahead as it can and nothing comes before somebody waits for it: two ends of what a card may
// do. So this finds wrong places, sizes and phases, waits that never end (it says so), what is used before it has come, and what is overwritten before it
// was read. It knows nothing of registers, of time, or of fences between kinds of memory access.
#pragma once
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define __HIP__ 1  // the portable sources then hold no assembler
#define __device__
#define __forceinline__ inline
#define __global__
#define __grid_constant__
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __shared__ static  // blocks that are in no cluster run one after another
#define __builtin_amdgcn_exp2f exp2f
#define SHARED_MEMORY(name) unsigned char* name = self->block->shared

typedef unsigned int bits32;
typedef long long int64;

// Vectors whose copies look at each member: only so does the sanitizer see an address that a card would fault on.
struct alignas(8) float2 {
    float x, y;
    float2() = default;
    float2(float x, float y) : x(x), y(y) {}
    float2(const float2& o) : x(o.x), y(o.y) {}
    float2& operator=(const float2& o) { x = o.x, y = o.y; return *this; }
};
template <class T> struct alignas(16) Four {
    T x, y, z, w;
    Four() = default;
    Four(T x, T y, T z, T w) : x(x), y(y), z(z), w(w) {}
    Four(const Four& o) : x(o.x), y(o.y), z(o.z), w(o.w) {}
    Four& operator=(const Four& o) { x = o.x, y = o.y, z = o.z, w = o.w; return *this; }
};
typedef Four<float> float4;
typedef Four<int> int4;
struct Three { int x, y, z; };

static const int WARP = 32, MOST_BLOCKS = 8, STACK_BYTES = 256 << 10, SHARED_BYTES = 227 << 10;

struct Meeting { int waiting = 0, round = 0; };  // of a known number of fibers

struct Block {
    alignas(1024) unsigned char shared[SHARED_BYTES];
    int index, rank;
    Meeting everyone, named[16], warps[32];
    bits32 exchange[32][WARP][4];
};

// What the driver's map says: row-major [rows, columns] of 16 bits, boxes of box_rows x 64.
struct TensorMap { unsigned char* memory; int rows, columns, box_rows; };

// Something asynchronous: what to do, with what, and the group of its kind that it was committed with.
struct Work {
    void (*todo)(const Work&);
    void *memory;
    unsigned long long a, b;
    int x, y, z, group;
    bits32 words[4];
    TensorMap map;  // itself: the thread that named it may have ended
};

struct Line {  // the work of one kind that a thread has started
    static const int MOST = 256;
    Work work[MOST];
    int count, commits;
};

struct Fiber {
    ucontext_t context;  // where it begins; from then on jumps, which leave signals alone and so need no system call
    jmp_buf here;
    bool begun;
    Block* block;
    int thread;
    bool done;
    Line products, copies, stores;
};

static Fiber* self;
static ucontext_t first_return;
static jmp_buf scheduler;
static Block* blocks[MOST_BLOCKS];
static int block_count, thread_count, block_width, grid_blocks, grid_width;
static long progress;  // changes that somebody may be waiting for
static Meeting cluster_meeting;
static bool late;
static Work loads[4096];  // by the copy engine, on its own: a ring
static long loads_begun, loads_done;

#define threadIdx (Three{self->thread % block_width, self->thread / block_width, 0})
#define blockDim (Three{block_width, thread_count / block_width, 1})
#define blockIdx (Three{self->block->index % grid_width, self->block->index / grid_width, 0})
#define gridDim (Three{grid_width, grid_blocks / grid_width, 1})

static void leave() { if (_setjmp(self->here) == 0) _longjmp(scheduler, 1); }
static void enter(Fiber& fiber) {
    self = &fiber;
    if (_setjmp(scheduler)) return;
    if (fiber.begun) _longjmp(fiber.here, 1);
    fiber.begun = true;
    swapcontext(&first_return, &fiber.context);
}
static void give_way() { leave(); }

static void meet(Meeting& meeting, int count) {
    int round = meeting.round;
    ++progress;
    if (++meeting.waiting == count) { meeting.waiting = 0; ++meeting.round; return; }
    while (meeting.round == round) give_way();
}

static void begin(Line& line, Work work) {
    if (!late) return work.todo(work);
    if (line.count == Line::MOST) { fprintf(stderr, "more work under way than the emulator has room for\n"); abort(); }
    work.group = line.commits;
    line.work[line.count++] = work;
}

// All committed groups but the last `keep`.
static void finish(Line& line, int keep) {
    int left = 0;
    for (int i = 0; i < line.count; ++i)
        if (line.work[i].group < line.commits - keep) line.work[i].todo(line.work[i]);
        else line.work[left++] = line.work[i];
    line.count = left;
}

inline void __syncwarp() { meet(self->block->warps[self->thread / WARP], WARP); }
inline void __syncthreads() { meet(self->block->everyone, thread_count); }
inline void named_barrier(int id, int threads) { meet(self->block->named[id], threads); }
inline void cluster_sync() { meet(cluster_meeting, thread_count * block_count); }
inline int cluster_rank() { return self->block->rank; }

inline float __shfl(float v, int lane, int) {
    auto& all = self->block->exchange[self->thread / WARP];
    memcpy(&all[self->thread % WARP][0], &v, 4);
    __syncwarp();
    memcpy(&v, &all[lane][0], 4);
    __syncwarp();
    return v;
}
inline float __shfl_xor(float v, int mask) { return __shfl(v, self->thread % WARP ^ mask, WARP); }

template <class T> inline T __ldg(const T* from) { return *from; }
inline bits32 shared_address(const void* p) { return (bits32)((const unsigned char*)p - self->block->shared); }
inline unsigned char* at(bits32 address, int rank = -1) { return (rank < 0 ? self->block : blocks[rank])->shared + address; }
inline bits32 swizzled_128(bits32 address) { return address ^ (((address >> 7) & 7) << 4); }

template <int N> inline void give_registers() {}
template <int N> inline void take_registers() {}
inline void forget(int&) {}
inline void fence_shared_for_tma() {}
inline void barrier_init_visible() {}
inline void wgmma_fence() {}
inline void wgmma_commit() { ++self->products.commits; }
template <int N> inline void wgmma_wait() { finish(self->products, N); }
template <int N> inline void hold(float (&)[N]) {}

// A barrier in shared memory, in its 8 bytes: arrivals it waits for, arrivals of a whole phase, bytes that are to come, and the phase.
struct Barrier { short pending, arrivals; int bytes_and_phase; };  // 2 x bytes + phase

static void settle(Barrier& b, int arrivals, int bytes) {
    ++progress;
    b.pending -= arrivals;
    b.bytes_and_phase += 2 * bytes;
    if (b.pending < 0) { fprintf(stderr, "a barrier had more arrivals than it was made for\n"); abort(); }
    if (b.pending == 0 && b.bytes_and_phase >> 1 == 0) { b.pending = b.arrivals; b.bytes_and_phase ^= 1; }
}

inline Barrier& barrier_at(bits32 address, int rank = -1) { return *(Barrier*)at(address, rank); }
inline void barrier_init(bits32 barrier, int arrivals) { barrier_at(barrier) = {(short)arrivals, (short)arrivals, 0}; }
inline void barrier_expect(bits32 barrier, int bytes) { settle(barrier_at(barrier), 0, bytes); settle(barrier_at(barrier), 1, 0); }
inline void barrier_arrive(bits32 barrier) { settle(barrier_at(barrier), 1, 0); }
inline void barrier_arrive(bits32 barrier, int rank) { settle(barrier_at(barrier, rank), 1, 0); }
inline void barrier_arrive_read(bits32 barrier, int rank) { barrier_arrive(barrier, rank); }
inline bool barrier_test(bits32 barrier, int parity) { return (barrier_at(barrier).bytes_and_phase & 1) != parity; }
inline void barrier_wait(bits32 barrier, int parity) { while (!barrier_test(barrier, parity)) give_way(); ++progress; }

static void send_now(const Work& w) {
    memcpy(at((bits32)w.a, w.x), w.words, 8);
    settle(barrier_at((bits32)w.b, w.x), 0, -8);
}
inline void send(bits32 to, float2 value, bits32 barrier, int rank) {
    Work work = {send_now, nullptr, to, barrier, rank};
    memcpy(work.words, &value, 8);
    if (late) loads[loads_begun++ % 4096] = work; else send_now(work);
}

template <int COUNT> struct Ring {
    int stage = 0, parity = 0;
    void advance() { if (++stage == COUNT) { stage = 0; parity ^= 1; } }
};

inline void tma_prefetch_map(const TensorMap*) {}
inline void tma_store_commit() { ++self->stores.commits; }
inline void tma_store_wait_read() { finish(self->stores, 0); }

// 16 bytes of a box, or null where they lie outside
inline unsigned char* piece(const TensorMap* map, int row, int column) {
    return row < map->rows && column < map->columns ? map->memory + ((long)row * map->columns + column) * 2 : nullptr;
}

static void load_box(const Work& w) {
    for (int rank = 0; rank < block_count; ++rank) {
        if (!(w.z >> rank & 1)) continue;
        for (int r = 0; r < w.map.box_rows; ++r)
            for (int c = 0; c < 8; ++c) {
                unsigned char *from = piece(&w.map, w.y + r, w.x + 8 * c), *there = at(swizzled_128((bits32)w.a + r * 128 + c * 16), rank);
                if (from) memcpy(there, from, 16); else memset(there, 0, 16);
            }
        settle(barrier_at((bits32)w.b, rank), 0, -w.map.box_rows * 128);
    }
}
inline void tma_load_multicast(bits32 to, const TensorMap* map, bits32 barrier, int column, int row, unsigned short mask) {
    Work work = {load_box, nullptr, to, barrier, column, row, mask};
    work.map = *map;
    if (late) loads[loads_begun++ % 4096] = work; else load_box(work);
}
inline void tma_load(bits32 to, const TensorMap* map, bits32 barrier, int column, int row) { tma_load_multicast(to, map, barrier, column, row, 1 << self->block->rank); }

static void store_box(const Work& w) {
    for (int r = 0; r < w.map.box_rows; ++r)
        for (int c = 0; c < 8; ++c)
            if (unsigned char* to = piece(&w.map, w.y + r, w.x + 8 * c)) memcpy(to, at(swizzled_128((bits32)w.a + r * 128 + c * 16)), 16);
}
inline void tma_store(const TensorMap* map, bits32 from, int column, int row) {
    Work work = {store_box, nullptr, from, 0, column, row};
    work.map = *map;
    begin(self->stores, work);
}

inline void load_two(float& a, float& b, bits32 address) {
    float2 two = *(const float2*)at(address);
    a = two.x, b = two.y;
}

// Four matrices of 8 x 8 between a warp's registers and shared memory: lane 8 m + r names row r of matrix m; lane l holds two values of row l / 4.
inline void exchange_addresses(bits32 address) { self->block->exchange[self->thread / WARP][self->thread % WARP][0] = address; __syncwarp(); }
inline unsigned char* pair_of(int matrix) {
    int lane = self->thread % WARP;
    return at(self->block->exchange[self->thread / WARP][8 * matrix + lane / 4][0] + lane % 4 * 4);
}
inline void load_matrices(bits32 (&to)[4], bits32 address) {
    exchange_addresses(address);
    for (int m = 0; m < 4; ++m) memcpy(&to[m], pair_of(m), 4);
    __syncwarp();
}
inline void store_matrices(bits32 address, bits32 a, bits32 b, bits32 c, bits32 d) {
    const bits32 from[4] = {a, b, c, d};
    exchange_addresses(address);
    for (int m = 0; m < 4; ++m) memcpy(pair_of(m), &from[m], 4);
    __syncwarp();
}

static void copy_piece(const Work& w) { if (w.memory) memcpy(at((bits32)w.a), w.memory, 16); else memset(at((bits32)w.a), 0, 16); }
inline void copy_async(bits32 to, const void* from, bool inside) { begin(self->copies, {copy_piece, inside ? (void*)from : nullptr, to}); }
inline void copy_async_commit() { ++self->copies.commits; }
template <int PENDING> inline void copy_async_wait() { finish(self->copies, PENDING); }

// Of a descriptor: the address, and rows of 128 bytes (1) or 64 (2), swizzled by as much.
inline unsigned long long tile_descriptor(bits32 address) { return address >> 4 | 1ull << 62; }
inline unsigned char* in_tile(unsigned long long tile, int row, int column) {
    bits32 pitch = tile >> 62 == 1 ? 128 : 64, address = (bits32)((tile & 0x3fff) << 4) + row * pitch + column * 2;
    return at(address ^ (((address >> 7) & (pitch / 16 - 1)) << 4));
}

#if STORAGE != 32
inline float unpack_float(unsigned short);  // storage.cuh
inline unsigned short pack_float(float);
inline bits32 pack_two(float low, float high) { return pack_float(low) | (bits32)pack_float(high) << 16; }

inline float value_in(unsigned long long tile, int row, int column) {
    unsigned short bits;
    memcpy(&bits, in_tile(tile, row, column), 2);
    return unpack_float(bits);
}

// d += the products of 16 of K for this thread's values of 64 x N; rows: its two rows of a, b(n, k): a value of b
template <int COUNT, class B> inline void multiply_16(float (&d)[COUNT], const float (&rows)[2][16], B b) {
    for (int n = 0; n < COUNT / 4; ++n)
        for (int i = 0; i < 2; ++i) {
            float column[16];
            for (int k = 0; k < 16; ++k) column[k] = b(n * 8 + self->thread % 4 * 2 + i, k);
            for (int r = 0; r < 2; ++r)
                for (int k = 0; k < 16; ++k) d[4 * n + 2 * r + i] = fmaf(rows[r][k], column[k], d[4 * n + 2 * r + i]);
        }
}

template <int COUNT> void multiply_tile_now(const Work& w) {
    float (&d)[COUNT] = *(float (*)[COUNT])w.memory;
    float rows[2][16];
    for (int r = 0; r < 2; ++r)
        for (int k = 0; k < 16; ++k) rows[r][k] = value_in(w.a, self->thread / WARP % 4 * 16 + self->thread % WARP / 4 + 8 * r, k);
    if (!w.x) for (float& v : d) v = 0.0f;
    multiply_16(d, rows, [&w](int n, int k) { return value_in(w.b, n, k); });
}
template <int COUNT> inline void multiply_tile(float (&d)[COUNT], unsigned long long a, unsigned long long b, int accumulate) {
    begin(self->products, {multiply_tile_now<COUNT>, d, a, b, accumulate});
}

// a is in the registers of the four lanes that share a row.
template <int COUNT> void multiply_registers_now(const Work& w) {
    auto& all = self->block->exchange[self->thread / WARP];
    memcpy(all[self->thread % WARP], w.words, sizeof(w.words));
    __syncwarp();
    float rows[2][16];
    for (int r = 0; r < 2; ++r)
        for (int k = 0; k < 16; ++k) rows[r][k] = unpack_float((unsigned short)(all[self->thread % WARP / 4 * 4 + k % 8 / 2][r + k / 8 * 2] >> k % 2 * 16));
    __syncwarp();
    multiply_16(*(float (*)[COUNT])w.memory, rows, [&w](int n, int k) { return value_in(w.b, k, n); });
}
template <int COUNT> inline void multiply_registers(float (&d)[COUNT], const bits32 (&a)[4], unsigned long long b) {
    begin(self->products, {multiply_registers_now<COUNT>, d, 0, b, 0, 0, 0, 0, {a[0], a[1], a[2], a[3]}});
}

#endif  // STORAGE

static void (*kernel_)(void*);
static void* arguments_;
static void start() { kernel_(arguments_); tma_store_commit(); tma_store_wait_read(); self->done = true; ++progress; leave(); }

// The threads of a warp, once each, or, late, as far as they come. -> how many are not done
static int run_warp(Fiber* fibers) {
    for (;;) {
        long before = progress;
        int left = 0;
        for (int i = 0; i < WARP; ++i) {
            if (!fibers[i].done) enter(fibers[i]);
            left += !fibers[i].done;
        }
        if (!late || progress == before) return left;
    }
}

struct Launch { int grid_x, grid_y, block_x, block_y, cluster, late; };

// Runs all blocks, in clusters, `kernel(arguments)` once a thread. 0: done; 1: every fiber waits for another.
static int run(const Launch& launch, void (*kernel)(void*), void* arguments) {
    late = launch.late, loads_begun = loads_done = 0;
    grid_width = launch.grid_x, block_width = launch.block_x;
    int grid = launch.grid_x * launch.grid_y, threads = launch.block_x * launch.block_y, cluster = launch.cluster;
    grid_blocks = grid, block_count = cluster, thread_count = threads, kernel_ = kernel, arguments_ = arguments;
    int fibers = cluster * threads;
    Fiber* all = (Fiber*)calloc(fibers, sizeof(Fiber));
    unsigned char* stacks = (unsigned char*)malloc((size_t)fibers * STACK_BYTES);
    for (int rank = 0; rank < cluster; ++rank) blocks[rank] = (Block*)aligned_alloc(1024, (sizeof(Block) + 1023) / 1024 * 1024);
    int stuck = 0;
    for (int first = 0; first < grid && !stuck; first += cluster) {
        cluster_meeting = Meeting();
        for (int rank = 0; rank < cluster; ++rank) {
            memset((void*)blocks[rank], 0x7e, sizeof(Block));  // what nobody wrote is NaN
            Block& b = *blocks[rank];
            b.index = first + rank, b.rank = rank, b.everyone = Meeting();
            for (Meeting& m : b.named) m = Meeting();
            for (Meeting& m : b.warps) m = Meeting();
        }
        for (int i = 0; i < fibers; ++i) {
            Fiber& f = all[i];
            f.block = blocks[i / threads], f.thread = i % threads, f.done = f.begun = false;
            f.products.count = f.copies.count = f.stores.count = 0;
            getcontext(&f.context);
            f.context.uc_stack.ss_sp = stacks + (size_t)i * STACK_BYTES;
            f.context.uc_stack.ss_size = STACK_BYTES;
            makecontext(&f.context, start, 0);
        }
        for (int left = fibers; left && !stuck;) {
            long before = progress;
            left = 0;
            for (int i = 0; i < fibers; i += WARP) left += run_warp(all + i);
            if (progress == before && loads_done < loads_begun) {  // nobody can go on: the next copy arrives
                self = &all[0];
                const Work& next = loads[loads_done++ % 4096];
                next.todo(next);
            }
            stuck = left && progress == before;
        }
    }
    for (int rank = 0; rank < cluster; ++rank) free(blocks[rank]);
    free(stacks);
    free(all);
    return stuck;
}

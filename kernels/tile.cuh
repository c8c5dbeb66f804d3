// c[m,n] = Σ_k a(m,k)·b(k,n), tile by tile: what gemm.cu, conv2d.cu and conv2d_gradient.cu have in common.
//
// A block adds up one tile of M×N sums in registers, DEPTH products of each at a time. Their factors lie
// in shared memory, [DEPTH][M] and [DEPTH][N], twice: while one half is multiplied, the next factors are on their way
// from memory into registers, and from there into the other half. So there is one barrier for each DEPTH products.
//
// An operand says where a factor is. Seen from it, a row of a and a column of b are both a line, of numbers k:
//     static constexpr bool ALONG_K         whether the four numbers of a run are of one line, or of four
//     Line line(int group, int index)       what a thread keeps of the line with which its run begins
//     Quad run(const Line &, int k, int end)   four numbers, 0 for those beyond the last line or from `end` on
#pragma once
#include "common.cuh"

// Threads of a block.
constexpr int BLOCK = 128;
constexpr int DEPTH = 16;

// Four numbers that are read and written at once, where their address is a multiple of 16.
struct alignas(16) Quad {
    float x, y, z, w;
};

// Where number k of a line lies in a tile of factors with so many lines: rows of `pitch`, in which lines change places
// eight by eight, another way for each four k. So a warp that writes runs along k meets all 32 banks; 0 ≤ k < DEPTH.
__device__ constexpr int turn(int k) { return k / 4 * 8; }

#ifdef TAPETUM_TF32
#include "tensor.cuh"
#else
#include "scalar.cuh"
#endif

// Tiles for problems of few sums, of few columns, and of many. They differ in how often a factor is used once it is in a
// register: four times, or eight. Their kernels promise 5, 4 and 3 blocks on a multiprocessor, which says how many
// registers there are: fewer would be spilled, more would leave it idle at the barriers.
using Small = Sums<64, 32>;
using Narrow = Sums<128, 32>;
using Wide = Sums<128, 64>;

// A problem's sizes for each of its groups, and how it is cut: into tiles, and its sums into `splits` parts of `span`.
// The grid is [tiles of rows × tiles of columns, groups × splits].
struct Cut {
    int rows, columns, depth;
    int span;
    Divisor column_tiles, splits;
};

// A thread's share in fetching a tile of an operand: some runs of four.
template <class Operand, int LINES>
struct Fetch {
    static constexpr int RUNS = LINES * DEPTH / 4 / BLOCK;
    static constexpr int PITCH = LINES + PAD;
    // Threads side by side read numbers side by side.
    static constexpr int ABREAST = (Operand::ALONG_K ? DEPTH : LINES) / 4;
    static constexpr int STEP = BLOCK / ABREAST;

    typename Operand::Line lines[Operand::ALONG_K ? RUNS : 1];
    Quad runs[RUNS];

    __device__ static int along() { return threadIdx.x % ABREAST * 4; }
    __device__ static int across(int run) { return threadIdx.x / ABREAST + run * STEP; }

    __device__ void begin(const Operand &operand, int group, int first) {
        if constexpr (Operand::ALONG_K) {
#pragma unroll
            for (int run = 0; run < RUNS; run++) lines[run] = operand.line(group, first + across(run));
        } else {
            lines[0] = operand.line(group, first + along());
        }
    }

    __device__ void read(const Operand &operand, int k, int end) {
#pragma unroll
        for (int run = 0; run < RUNS; run++) {
            if constexpr (Operand::ALONG_K) runs[run] = operand.run(lines[run], k + along(), end);
            else runs[run] = operand.run(lines[0], k + across(run), end);
        }
    }

    // Overwrites `tile` [DEPTH][PITCH].
    __device__ void write(float *tile) const {
#pragma unroll
        for (int run = 0; run < RUNS; run++) {
            Quad four = prepared(runs[run]);
            if constexpr (Operand::ALONG_K) {
                float *to = tile + along() * PITCH + (across(run) ^ turn(along()));
                to[0] = four.x;
                to[PITCH] = four.y;
                to[2 * PITCH] = four.z;
                to[3 * PITCH] = four.w;
            } else {
                int k = across(run);
                *reinterpret_cast<Quad *>(tile + k * PITCH + (along() ^ turn(k))) = four;
            }
        }
    }
};

// y = f(sum + bias), for windows of four rows the largest of them: rows 4w … 4w+3 of the product are the pixels of
// window w, and row w of y is written.
struct Store {
    float *y;                  // [rows or windows][pitch]
    int pitch;
    const float *bias;         // [pitch] or null
    Activation activation;
    bool pooled;
    unsigned char *winners;    // as y, or null: the pixel of each window that won

    // The sums as they are: all of `y`, or, where they are cut into splits, those of each split side by side.
    __device__ static Store of_sums(float *y, const Cut &cut, int pitch) {
        int split;
        cut.splits.divide(blockIdx.y, split);
        long long before = (long long)split * cut.rows * pitch;
        return {y + before, pitch, nullptr, {Activation::LINEAR, 0.0f}, false, nullptr};
    }

    // One number, from its sum or from the four of its window, which are `step` apart.
    __device__ void number(int at, float shift, const float *sums, int step) const {
        float largest = sums[0];
        int winner = 0;
        if (pooled) {
#pragma unroll
            for (int tap = 1; tap < 4; tap++) {
                float next = sums[tap * step];
                if (wins(next, largest)) largest = next, winner = tap;
            }
        }
        float value = flushed(activation.value(largest + shift));
        y[at] = value;
        if (winners) winners[at] = activation.kind == Activation::RELU && value == 0.0f ? NO_TAP : winner;
    }

    // A tile of `sums` [M][PITCH] in shared memory.
    template <int M, int N, int PITCH>
    __device__ void tile(const float *sums, const Cut &cut, int group, int row, int column) const {
        int each = pooled ? 4 : 1;
        int n = threadIdx.x % N;
        if (column + n >= cut.columns) return;
        int f = group * cut.columns + column + n;
        float shift = bias ? bias[f] : 0.0f;
        for (int m = threadIdx.x / N * each; m < M && row + m < cut.rows; m += BLOCK / N * each) {
            number((row + m) / each * pitch + f, shift, sums + m * PITCH + n, PITCH);
        }
    }
};

// Gives this block's tile of the product to `store`: a `Store`, or who has a function `tile` like it.
template <class Sums, class A, class B, class To>
__device__ void multiply(const A &a, const B &b, const Cut &cut, const To &store) {
    using FetchA = Fetch<A, Sums::M>;
    using FetchB = Fetch<B, Sums::N>;
    constexpr int A_LEN = DEPTH * FetchA::PITCH, B_LEN = DEPTH * FetchB::PITCH;
    constexpr int STAGE_PITCH = Sums::N + 4;
    constexpr int STAGE_LEN = Sums::M * STAGE_PITCH;
    constexpr int LEN = 2 * (A_LEN + B_LEN) > STAGE_LEN ? 2 * (A_LEN + B_LEN) : STAGE_LEN;
    __shared__ Quad memory[LEN / 4];

    int column, split;
    int row = cut.column_tiles.divide(blockIdx.x, column) * Sums::M;
    column *= Sums::N;
    int group = cut.splits.divide(blockIdx.y, split);
    int k = split * cut.span;
    int end = k + cut.span < cut.depth ? k + cut.span : cut.depth;

    float *half = reinterpret_cast<float *>(memory), *other = half + A_LEN + B_LEN;
    FetchA from_a;
    FetchB from_b;
    from_a.begin(a, group, row);
    from_b.begin(b, group, column);
    from_a.read(a, k, end);
    from_b.read(b, k, end);
    from_a.write(half);
    from_b.write(half + A_LEN);
    __syncthreads();
    Sums sums;
    while (true) {
        k += DEPTH;
        bool more = k < end;
        if (more) {
            from_a.read(a, k, end);
            from_b.read(b, k, end);
        }
        sums.add(half, half + A_LEN);
        if (!more) break;
        from_a.write(other);
        from_b.write(other + A_LEN);
        __syncthreads();
        float *done = half;
        half = other;
        other = done;
    }

    // Through shared memory, so that a window's sums, whichever threads they are of, come together.
    float *stage = reinterpret_cast<float *>(memory);
    __syncthreads();
    sums.template write<STAGE_PITCH>(stage);
    __syncthreads();
    store.template tile<Sums::M, Sums::N, STAGE_PITCH>(stage, cut, group, row, column);
}

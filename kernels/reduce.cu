// Sums over the rows of a matrix, and one look at all gradients.
#include "common.cuh"
#include "columns.cuh"

// sums[b, c] = Σ_r x[r, c]  over the rows r of block b of rows
// x [R, C]  →  sums [blocks, C], overwritten
extern "C" __global__ void reduce_rows(const float *x, Columns of, float *sums) {
    __shared__ float shared[THREADS];
    float sum = of.sum(of.begin(), of.end(), [=](int row) { return x[of.at(row)]; });
    sum = sum_lines(sum, shared, of.width);
    if (of.writes()) sums[of.at(blockIdx.x)] = sum;
}

// What is kept of a block of gradients. Whole words: scratch memory is aligned to no more.
struct Part {
    // The bits of Σ g², in f64.
    unsigned squares[2];
    // The place of the first number that is not finite.
    unsigned suspect;
};

constexpr unsigned NOBODY = 0xffffffffu;

union Bits {
    double number;
    unsigned words[2];
};

__device__ inline unsigned first(unsigned a, unsigned b) {
    return a < b ? a : b;
}

// g [count], `chunk` numbers a block  →  parts [blocks], overwritten
extern "C" __global__ void reduce_squares(const float *g, int count, int chunk, Part *parts) {
    __shared__ double sums[THREADS];
    __shared__ unsigned suspects[THREADS];
    int begin = (int)blockIdx.x * chunk, end = count - begin < chunk ? count : begin + chunk;
    double sum = 0.0;
    unsigned suspect = NOBODY;
    for (int at = begin + (int)threadIdx.x; at < end; at += THREADS) {
        double number = g[at];
        sum += number * number;
        if (!is_finite(number)) suspect = first(suspect, at);
    }
    Bits squares;
    squares.number = sum_lines(sum, sums, 1);
    suspect = join_lines(suspect, suspects, 1, first);
    if (threadIdx.x == 0) parts[blockIdx.x] = {{squares.words[0], squares.words[1]}, suspect};
}

// One block: overwrites `norm` with Σ g², and halts a training whose gradients are not finite.
extern "C" __global__ void reduce_check(const Part *parts, int count, Control *control, double *norm) {
    __shared__ double sums[THREADS];
    __shared__ unsigned suspects[THREADS];
    double sum = 0.0;
    unsigned suspect = NOBODY;
    for (int at = threadIdx.x; at < count; at += THREADS) {
        Bits squares;
        squares.words[0] = parts[at].squares[0];
        squares.words[1] = parts[at].squares[1];
        sum += squares.number;
        suspect = first(suspect, parts[at].suspect);
    }
    sum = sum_lines(sum, sums, 1);
    suspect = join_lines(suspect, suspects, 1, first);
    if (threadIdx.x > 0) return;
    *norm = sum;
    if (suspect != NOBODY && control->halted == 0) control->halted = suspect + 1;
}

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

// What a look at some gradients found: Σ g², and 1 + the place of the first that is not finite, or 0.
struct Look {
    double squares;
    unsigned suspect;

    __device__ Look operator+(Look other) const {
        bool here = suspect != 0 && (other.suspect == 0 || suspect < other.suspect);
        return {squares + other.squares, here ? suspect : other.suspect};
    }
};

// The same in words: scratch memory is aligned to no more.
union Part {
    Look look;
    unsigned words[4];
};

// g [D], as D rows  →  parts [blocks], overwritten
extern "C" __global__ void reduce_squares(const float *g, Columns of, unsigned (*parts)[4]) {
    __shared__ Look shared[THREADS];
    Part part;
    part.look = of.sum(of.begin(), of.end(), [=](int at) {
        double number = g[at];
        return Look{number * number, is_finite(number) ? 0u : at + 1u};
    });
    part.look = sum_lines(part.look, shared, 1);
    if (threadIdx.x > 0) return;
    for (int word = 0; word < 3; word++) parts[blockIdx.x][word] = part.words[word];
}

// One block, for the parts as rows: overwrites `norm` with Σ g², and halts a training whose gradients are not finite.
extern "C" __global__ void reduce_check(const unsigned (*parts)[4], Columns of, Control *control, double *norm) {
    __shared__ Look shared[THREADS];
    Look look = of.sum(of.begin(), of.end(), [=](int at) {
        Part part;
        for (int word = 0; word < 3; word++) part.words[word] = parts[at][word];
        return part.look;
    });
    look = sum_lines(look, shared, 1);
    if (threadIdx.x > 0) return;
    *norm = look.squares;
    if (look.suspect != 0 && control->halted == 0) control->halted = look.suspect;
}

// A block over some rows of a matrix [R, C]: `width` columns side by side, in as many lines as there are threads.
//
// Sums over rows are in a fixed order: each line's rows one after the other, four sums at a time; then the lines, half
// added to half; then the blocks, by a second kernel.
#pragma once

#include "elements.cuh"

// The part of a matrix that a block takes: grid (blocks of rows, blocks of columns).
struct Columns {
    int rows;
    int columns;
    // Columns of a block: a power of two of at most 32.
    int width;
    // Rows of a block.
    int chunk;

    __device__ int column() const { return (int)blockIdx.y * width + (int)threadIdx.x % width; }
    __device__ int line() const { return (int)threadIdx.x / width; }
    __device__ int lines() const { return THREADS / width; }
    __device__ int begin() const { return (int)blockIdx.x * chunk; }
    __device__ int end() const { return rows - begin() < chunk ? rows : begin() + chunk; }
    __device__ bool inside() const { return column() < columns; }
    // Whether this thread writes what its block found out about its column.
    __device__ bool writes() const { return line() == 0 && inside(); }
    __device__ int at(int row) const { return row * columns + column(); }

    // Σ term(r) over this thread's rows from `first` to `end`.
    template <typename Term>
    __device__ auto sum(int first, int end, Term term) const {
        decltype(term(0)) sums[4] = {};
        int row = first + line(), step = lines();
        if (!inside()) row = end;
        for (; end - row > 3 * step; row += 4 * step) {
#pragma unroll
            for (int k = 0; k < 4; k++) sums[k] = sums[k] + term(row + k * step);
        }
        for (; row < end; row += step) sums[0] = sums[0] + term(row);
        return (sums[0] + sums[1]) + (sums[2] + sums[3]);
    }
};

// Two sums at once.
template <typename Number>
struct Pair {
    Number first, second;

    __device__ Pair operator+(Pair other) const { return {first + other.first, second + other.second}; }
};

// What `join` makes of the numbers of all lines; every thread is told its column's. `shared` has room for all threads.
template <typename Number, typename Join>
__device__ Number join_lines(Number number, Number *shared, int width, Join join) {
    // What was there before may still be read.
    __syncthreads();
    shared[threadIdx.x] = number;
    for (int half = THREADS / 2; half >= width; half /= 2) {
        __syncthreads();
        if ((int)threadIdx.x < half) shared[threadIdx.x] = join(shared[threadIdx.x], shared[threadIdx.x + half]);
    }
    __syncthreads();
    return shared[threadIdx.x % width];
}

template <typename Number>
__device__ Number sum_lines(Number number, Number *shared, int width) {
    return join_lines(number, shared, width, [](Number a, Number b) { return a + b; });
}

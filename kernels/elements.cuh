// What the kernels share that take one number, or one column of numbers, after the other.
#pragma once

#include "common.cuh"

// Threads of a block.
constexpr int THREADS = 256;

// The number that this thread is for, where there is a thread for each.
__device__ inline int this_number() {
    return (int)(blockIdx.x * blockDim.x + threadIdx.x);
}

__device__ inline float infinity() {
    return __int_as_float(0x7f800000);
}

__device__ inline bool is_finite(double x) {
    return x - x == 0.0;
}

// Where a training stands. It begins a chunk of steps at 0; what differs from step to step is in tables with a row for
// each step of the chunk.
struct Control {
    unsigned step;
    // 0, or why nothing more is to be learned: 1 + the place of the first gradient that is not finite, `LOSS`, or
    // `UNSURE`: what was not written down may be none that is finite, and the host has to do the step with all written.
    unsigned halted;
    // The gradient that is not finite, where it is one.
    float number;
    unsigned reserved;

    static constexpr unsigned LOSS = 0xffffffffu, UNSURE = 0xfffffffeu;

    // This step's row in a table of so many, never one behind its end.
    __device__ int row(int rows) const {
        return step < (unsigned)rows ? (int)step : rows - 1;
    }
};

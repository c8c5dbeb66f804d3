// y[i] = f(b[i mod columns] + Σ_p parts[p][i]): the parts of sums that were cut, added up in a fixed order.
#pragma once
#include "common.cuh"

constexpr int SUM_THREADS = 256, SUM_LANES = 16;

// A block adds up SUM_THREADS / SUM_LANES numbers; each lane every SUM_LANES-th part. Overwrites `y` [size].
__device__ inline void sum_parts(
    const float *parts, int count, int size, const float *bias, Divisor columns, Activation activation, float *y
) {
    constexpr int NUMBERS = SUM_THREADS / SUM_LANES;
    __shared__ float sums[SUM_LANES][NUMBERS];
    int number = threadIdx.x % NUMBERS, lane = threadIdx.x / NUMBERS;
    int at = blockIdx.x * NUMBERS + number;
    float sum = 0.0f;
    if (at < size) {
#pragma unroll 8
        for (int part = lane; part < count; part += SUM_LANES) sum += parts[(long long)part * size + at];
    }
    sums[lane][number] = sum;
    __syncthreads();
    if (lane > 0 || at >= size) return;
    for (int other = 1; other < SUM_LANES; other++) sum += sums[other][number];
    int column;
    columns.divide(at, column);
    y[at] = flushed(activation.value(bias ? sum + bias[column] : sum));
}

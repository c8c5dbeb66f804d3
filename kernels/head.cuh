// The dense layer before a loss, where it is so small that the loss's one block has it done before a launch would begin.
//     z[n,k] = f(b[k] + Σ_d x[n,d]·w[d,k])        x [N,D]  w [D,K]  b [K]  →  z [N,K]
// In FP32 always: TF32 is for what takes long. Sums in a fixed order: each lane's products one after the other, then the
// lanes, half added to half.
#pragma once
#include "elements.cuh"

struct Head {
    // Where w is null, z is there already.
    const float *x, *w, *bias;
    Activation activation;
    // D
    int inputs;
    // Outputs that a warp takes side by side, a power of two of at most 32; the lanes of each share its D products.
    int width;

    // Samples that a warp takes at once: each weight that it reads is used so often.
    static constexpr int SAMPLES = 4;
    static constexpr int WARPS = THREADS / 32;

    // Overwrites z.
    __device__ void forward(int count, int outputs, float *z) const {
        int across = (outputs + width - 1) / width, tiles = (count + SAMPLES - 1) / SAMPLES * across;
        for (int at = (int)threadIdx.x / 32; at < tiles; at += WARPS) {
            tile(at / across * SAMPLES, at % across * width, count, outputs, z);
        }
    }

    // A warp's outputs from (n, k) on. Beyond the last sample and the last output it reads these again and writes nothing.
    __device__ void tile(int n, int k, int count, int outputs, float *z) const {
        int lane = (int)threadIdx.x % 32, column = k + lane % width;
        bool writes = lane < width && column < outputs;
        column = column < outputs ? column : outputs - 1;
        const float *rows[SAMPLES];
#pragma unroll
        for (int i = 0; i < SAMPLES; i++) rows[i] = x + (n + i < count ? n + i : count - 1) * inputs;
        float sums[SAMPLES] = {};
#pragma unroll 4
        for (int d = lane / width; d < inputs; d += 32 / width) {
            float weight = w[d * outputs + column];
#pragma unroll
            for (int i = 0; i < SAMPLES; i++) sums[i] += rows[i][d] * weight;
        }
        float shift = bias ? bias[column] : 0.0f;
#pragma unroll
        for (int i = 0; i < SAMPLES; i++) {
            for (int half = 16; half >= width; half /= 2) sums[i] += __shfl_xor_sync(0xffffffffu, sums[i], half);
            if (writes && n + i < count) z[(n + i) * outputs + column] = flushed(activation.value(sums[i] + shift));
        }
    }
};

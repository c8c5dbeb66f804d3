// How an entry of θ, its moments and its average move by its gradient g: what the kernels of update.cu and those products
// of gemm.cu share that are such gradients.
//
// θ, m, v ← rule(kept·θ, g, m, v), and then the average of parameters a ← a + c·(θ − a)
//
// As in src/kernels/cpu/update.rs, where it says why small numbers become 0.
#pragma once
#include "common.cuh"
#include "elements.cuh"

// A step's numbers; the table has a row for each step of a chunk.
struct Row {
    // What decayed entries of θ are multiplied by, and the others.
    float kept_decayed, kept;
    // η, or Adam's α.
    float rate;
    float epsilon;
    // 1 − β₁
    float gain1;
    // 1 − β₂, or μ.
    float gain2_or_mu;
    // Of the average.
    float c;
    // The largest norm of all gradients, or 0 for any.
    float clip;
};

// One entry of all that moves.
struct Entry {
    float theta;
    // m or u, and v.
    float moments[2];
    float average;
};

// |g| and v that are smaller count as 0 in Adam: 2⁻⁵⁰ and 2⁻¹¹⁰. ε is at least the first.
constexpr float LEAST_G = 8.881784197001252e-16f;
constexpr float LEAST_V = 7.703719777548943e-34f;

// m ← m + (1 − β₁)·(g − m)     v ← v + (1 − β₂)·(g² − v)     θ ← θ − α·m/(√v + ε)
struct Adam {
    static constexpr int MOMENTS = 2;

    static __device__ void move(const Row &row, float g, Entry &entry) {
        float &m = entry.moments[0], &v = entry.moments[1];
        g = fabsf(g) < LEAST_G ? 0.0f : g;
        m = flushed(m + (g - m) * row.gain1);
        v = v + (g * g - v) * row.gain2_or_mu;
        v = v < LEAST_V ? 0.0f : v;
        entry.theta -= row.rate * m / (sqrtf(v) + row.epsilon);
    }
};

// A compiler may make one operation of a·b − c·d with either product, and so another number in each kernel. `fmaf` says
// which.

// θ ← θ − η·g
struct Descend {
    static constexpr int MOMENTS = 0;

    static __device__ void move(const Row &row, float g, Entry &entry) { entry.theta = fmaf(-row.rate, g, entry.theta); }
};

// u ← μ·u − η·g     θ ← θ + u, or θ + μ·u − η·g with Nesterov's look ahead
template <bool NESTEROV>
struct Roll {
    static constexpr int MOMENTS = 1;

    static __device__ void move(const Row &row, float g, Entry &entry) {
        float mu = row.gain2_or_mu, &u = entry.moments[0];
        u = flushed(fmaf(-row.rate, g, mu * u));
        entry.theta += NESTEROV ? fmaf(-row.rate, g, mu * u) : u;
    }
};

// All that moves.
struct Arena {
    const Row *rows;
    const Control *control;
    // θ [D]; the first entries are decayed.
    float *theta;
    // m or u, v, and the average: [D], or none.
    float *moments[2];
    float *average;
    int steps;
    int decayed;

    // This step's numbers.
    __device__ Row row() const { return rows[control->row(steps)]; }

    template <class Rule>
    __device__ Entry read(int at) const {
        Entry entry = {theta[at], {}, average ? average[at] : 0.0f};
#pragma unroll
        for (int k = 0; k < Rule::MOMENTS; k++) entry.moments[k] = moments[k][at];
        return entry;
    }

    // Moves entry `at` from what was read.
    template <class Rule>
    __device__ void move(const Row &row, int at, float g, Entry entry) const {
        entry.theta *= at < decayed ? row.kept_decayed : row.kept;
        Rule::move(row, g, entry);
        theta[at] = entry.theta = flushed(entry.theta);
#pragma unroll
        for (int k = 0; k < Rule::MOMENTS; k++) moments[k][at] = entry.moments[k];
        if (average) average[at] = flushed(entry.average + row.c * (entry.theta - entry.average));
    }
};

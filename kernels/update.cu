// One step of an optimizer, in one pass: θ [D] and its moments move by g [D], each entry on its own.
//
// θ, m, v ← rule(kept·θ, g·min(1, clip/‖g‖), m, v), and then the average of parameters a ← a + c·(θ − a)
//
// As in src/kernels/cpu/update.rs, where it says why small numbers become 0.
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

// What all rules are told.
struct Arena {
    const Row *rows;
    int steps;
    const Control *control;
    // θ [D]; the first entries are decayed.
    float *theta;
    int count;
    int decayed;
    // g [D], and Σ g²
    const float *g;
    const double *norm;
    // m or u, v, and the average: [D], or none.
    float *moments[2];
    float *average;
};

// |g| and v that are smaller count as 0 in Adam: 2⁻⁵⁰ and 2⁻¹¹⁰. ε is at least the first.
constexpr float LEAST_G = 8.881784197001252e-16f;
constexpr float LEAST_V = 7.703719777548943e-34f;

// m ← m + (1 − β₁)·(g − m)     v ← v + (1 − β₂)·(g² − v)     θ ← θ − α·m/(√v + ε)
struct Adam {
    static __device__ float entry(const Row &row, float theta, float g, float *const *moments, int at) {
        g = fabsf(g) < LEAST_G ? 0.0f : g;
        float m = moments[0][at], v = moments[1][at];
        m = flushed(m + (g - m) * row.gain1);
        v = v + (g * g - v) * row.gain2_or_mu;
        v = v < LEAST_V ? 0.0f : v;
        moments[0][at] = m;
        moments[1][at] = v;
        return theta - row.rate * m / (sqrtf(v) + row.epsilon);
    }
};

// θ ← θ − η·g
struct Descend {
    static __device__ float entry(const Row &row, float theta, float g, float *const *, int) {
        return theta - row.rate * g;
    }
};

// u ← μ·u − η·g     θ ← θ + u, or θ + μ·u − η·g with Nesterov's look ahead
template <bool NESTEROV>
struct Roll {
    static __device__ float entry(const Row &row, float theta, float g, float *const *moments, int at) {
        float mu = row.gain2_or_mu, u = flushed(mu * moments[0][at] - row.rate * g);
        moments[0][at] = u;
        return theta + (NESTEROV ? mu * u - row.rate * g : u);
    }
};

// min(1, clip/‖g‖)
__device__ inline float clip_factor(float clip, double squares) {
    double norm = sqrt(squares);
    return clip > 0.0f && norm > clip ? (float)(clip / norm) : 1.0f;
}

template <typename Rule>
__device__ void move(const Arena &arena) {
    __shared__ float factor;
    if (arena.control->halted) return;
    const Row row = arena.rows[arena.control->row(arena.steps)];
    if (threadIdx.x == 0) factor = clip_factor(row.clip, *arena.norm);
    __syncthreads();
    int at = this_number();
    if (at >= arena.count) return;
    float g = factor < 1.0f ? flushed(arena.g[at] * factor) : arena.g[at];
    float theta = arena.theta[at] * (at < arena.decayed ? row.kept_decayed : row.kept);
    theta = flushed(Rule::entry(row, theta, g, arena.moments, at));
    arena.theta[at] = theta;
    if (arena.average) {
        float a = arena.average[at];
        arena.average[at] = flushed(a + row.c * (theta - a));
    }
}

extern "C" __global__ void update_adam(Arena arena) {
    move<Adam>(arena);
}

extern "C" __global__ void update_descend(Arena arena) {
    move<Descend>(arena);
}

extern "C" __global__ void update_roll(Arena arena) {
    move<Roll<false>>(arena);
}

extern "C" __global__ void update_roll_nesterov(Arena arena) {
    move<Roll<true>>(arena);
}

// One thread: on to the next step.
extern "C" __global__ void update_advance(Control *control) {
    if (control->halted == 0) control->step++;
}

// One step of an optimizer, in one pass: θ [D], its moments and its average move by g [D], as rule.cuh says; all
// gradients are multiplied by min(1, clip/‖g‖) before.
#include "rule.cuh"

// min(1, clip/‖g‖)
__device__ inline float clip_factor(float clip, double squares) {
    double norm = sqrt(squares);
    return clip > 0.0f && norm > clip ? (float)(clip / norm) : 1.0f;
}

// `norm` is Σ g², of all gradients.
template <class Rule>
__device__ void move(const Arena &arena, int count, const float *g, const double *norm) {
    __shared__ float factor;
    if (arena.control->halted) return;
    const Row row = arena.row();
    if (threadIdx.x == 0) factor = clip_factor(row.clip, *norm);
    __syncthreads();
    int at = this_number();
    if (at >= count) return;
    arena.move<Rule>(row, at, factor < 1.0f ? flushed(g[at] * factor) : g[at], arena.read<Rule>(at));
}

extern "C" __global__ void update_adam(Arena arena, int count, const float *g, const double *norm) {
    move<Adam>(arena, count, g, norm);
}

extern "C" __global__ void update_descend(Arena arena, int count, const float *g, const double *norm) {
    move<Descend>(arena, count, g, norm);
}

extern "C" __global__ void update_roll(Arena arena, int count, const float *g, const double *norm) {
    move<Roll<false>>(arena, count, g, norm);
}

extern "C" __global__ void update_roll_nesterov(Arena arena, int count, const float *g, const double *norm) {
    move<Roll<true>>(arena, count, g, norm);
}

// One thread: on to the next step.
extern "C" __global__ void update_advance(Control *control) {
    if (control->halted == 0) control->step++;
}

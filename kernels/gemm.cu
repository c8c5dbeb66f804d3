// A dense layer's three products.     x [N,D]  w [D,F]  b [F]  y, dy [N,F]
//     y[n,f] = f(b[f] + Σ_d x[n,d]·w[d,f])
//     dx[n,d] = Σ_f dy[n,f]·w[d,f]
//     dw[d,f] = Σ_n x[n,d]·dy[n,f]
// All overwrite; the weights may also move by dw at once, so that it is never written down. Sums that are cut into parts
// go to [splits][rows][columns], and `sum` adds them up.
#include "matrix.cuh"
#include "move.cuh"
#include "parts.cuh"

// Whether runs of four may be read at once, of the left and of the right factor.
struct Quads {
    int a, b;
};

template <class Sums>
__device__ void forward(
    const Cut &cut, Quads quads, const float *x, const float *w, const float *bias, Activation activation, float *y
) {
    Lines a = {x, cut.rows, cut.depth, quads.a != 0};
    Across b = {w, cut.columns, cut.columns, quads.b != 0};
    // Parts have neither bias nor activation yet.
    Store whole = {y, cut.columns, bias, activation, false, nullptr};
    multiply<Sums>(a, b, cut, cut.splits.size > 1 ? Store::of_sums(y, cut, cut.columns) : whole);
}

template <class Sums>
__device__ void input_gradient(const Cut &cut, Quads quads, const float *dy, const float *w, float *dx) {
    Lines a = {dy, cut.rows, cut.depth, quads.a != 0};
    Lines b = {w, cut.columns, cut.depth, quads.b != 0};
    multiply<Sums>(a, b, cut, Store::of_sums(dx, cut, cut.columns));
}

template <class Sums>
__device__ void weight_gradient(const Cut &cut, Quads quads, const float *x, const float *dy, float *dw) {
    Across a = {x, cut.rows, cut.rows, quads.a != 0};
    Across b = {dy, cut.columns, cut.columns, quads.b != 0};
    multiply<Sums>(a, b, cut, Store::of_sums(dw, cut, cut.columns));
}

// w moves by dw, unless the training is halted.
template <class Sums>
__device__ void weight_update(
    const Cut &cut, Quads quads, const float *x, const float *dy, int rule, const Arena &arena
) {
    if (arena.control->halted) return;
    Across a = {x, cut.rows, cut.rows, quads.a != 0};
    Across b = {dy, cut.columns, cut.columns, quads.b != 0};
    multiply<Sums>(a, b, cut, Move{rule, arena});
}

extern "C" __global__ void __launch_bounds__(BLOCK, 5) forward_small(
    Cut cut, Quads quads, const float *x, const float *w, const float *bias, Activation activation, float *y
) {
    forward<Small>(cut, quads, x, w, bias, activation, y);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 4) forward_narrow(
    Cut cut, Quads quads, const float *x, const float *w, const float *bias, Activation activation, float *y
) {
    forward<Narrow>(cut, quads, x, w, bias, activation, y);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 3) forward_wide(
    Cut cut, Quads quads, const float *x, const float *w, const float *bias, Activation activation, float *y
) {
    forward<Wide>(cut, quads, x, w, bias, activation, y);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 5) input_gradient_small(
    Cut cut, Quads quads, const float *dy, const float *w, float *dx
) {
    input_gradient<Small>(cut, quads, dy, w, dx);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 4) input_gradient_narrow(
    Cut cut, Quads quads, const float *dy, const float *w, float *dx
) {
    input_gradient<Narrow>(cut, quads, dy, w, dx);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 3) input_gradient_wide(
    Cut cut, Quads quads, const float *dy, const float *w, float *dx
) {
    input_gradient<Wide>(cut, quads, dy, w, dx);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 5) weight_gradient_small(
    Cut cut, Quads quads, const float *x, const float *dy, float *dw
) {
    weight_gradient<Small>(cut, quads, x, dy, dw);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 4) weight_gradient_narrow(
    Cut cut, Quads quads, const float *x, const float *dy, float *dw
) {
    weight_gradient<Narrow>(cut, quads, x, dy, dw);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 3) weight_gradient_wide(
    Cut cut, Quads quads, const float *x, const float *dy, float *dw
) {
    weight_gradient<Wide>(cut, quads, x, dy, dw);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 5) weight_update_small(
    Cut cut, Quads quads, const float *x, const float *dy, int rule, Arena arena
) {
    weight_update<Small>(cut, quads, x, dy, rule, arena);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 4) weight_update_narrow(
    Cut cut, Quads quads, const float *x, const float *dy, int rule, Arena arena
) {
    weight_update<Narrow>(cut, quads, x, dy, rule, arena);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 3) weight_update_wide(
    Cut cut, Quads quads, const float *x, const float *dy, int rule, Arena arena
) {
    weight_update<Wide>(cut, quads, x, dy, rule, arena);
}

extern "C" __global__ void __launch_bounds__(SUM_THREADS) sum(
    const float *parts, int count, int size, const float *bias, Divisor columns, Activation activation, float *y
) {
    sum_parts(parts, count, size, bias, columns, activation, y);
}

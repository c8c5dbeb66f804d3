// Max pooling and average pooling, channels last (thesis 3.8): a thread for each number that is written. On the way
// back it gathers from the windows over its pixel, in their order.
// x [N, H, W, C]  →  y [N, OH, OW, C]
#include "common.cuh"
#include "columns.cuh"
#include "window.cuh"

// y = max over the taps inside the picture. Overwrites y, and `taps`, if wanted, with u·KW+v of the winner. A window
// that sees nothing gives −∞ and tap 0.
extern "C" __global__ void pool2d_max(Windows windows, const float *x, float *y, unsigned *taps, int count) {
    int at = this_number();
    if (at >= count) return;
    Largest largest = Largest::of_nothing();
    windows.each_met(windows.of_output(at), [&](int from, int tap) { largest.meet(x[from], tap); });
    y[at] = largest.value;
    if (taps) taps[at] = largest.tap < 0 ? 0 : largest.tap;
}

// dx = Σ dy of the windows that this pixel won; overwritten.
extern "C" __global__ void pool2d_max_gradient(Windows windows, const unsigned *taps, const float *dy, float *dx,
                                               int count) {
    int at = this_number();
    if (at >= count) return;
    float sum = 0.0f;
    windows.each_over(windows.of_input(at), [&](int from, int, int, int tap) {
        if (taps[from] == (unsigned)tap) sum += dy[from];
    });
    dx[at] = sum;
}

// By how much a window's sum is divided: its taps in the picture or, with `count_pad`, in the padded one; at least 1.
__device__ inline float divisor(const Windows &windows, int i, int j, bool count_pad) {
    const Axis &rows = windows.rows, &columns = windows.columns;
    int taps = count_pad ? rows.met_padded(i).count() * columns.met_padded(j).count()
                         : rows.met(i).count() * columns.met(j).count();
    return taps > 0 ? (float)taps : 1.0f;
}

// y = Σ x / divisor; overwritten.
extern "C" __global__ void pool2d_average(Windows windows, int count_pad, const float *x, float *y, int count) {
    int at = this_number();
    if (at >= count) return;
    Place place = windows.of_output(at);
    float sum = 0.0f;
    windows.each_met(place, [&](int from, int) { sum += x[from]; });
    y[at] = sum / divisor(windows, place.row, place.column, count_pad);
}

// dx = Σ dy / divisor of the windows over this pixel; overwritten.
extern "C" __global__ void pool2d_average_gradient(Windows windows, int count_pad, const float *dy, float *dx,
                                                   int count) {
    int at = this_number();
    if (at >= count) return;
    float sum = 0.0f;
    windows.each_over(windows.of_input(at), [&](int from, int i, int j, int) {
        sum += dy[from] / divisor(windows, i, j, count_pad);
    });
    dx[at] = sum;
}

// One window for all of a picture: a block for each picture and some channels. `of` is a picture's [H·W, C].
// y [N, C] = Σ x / (H·W); overwritten.
extern "C" __global__ void pool2d_global_average(Columns of, const float *x, float *y) {
    __shared__ float shared[THREADS];
    x += (int)blockIdx.x * of.rows * of.columns;
    float sum = of.sum(0, of.rows, [=](int row) { return x[of.at(row)]; });
    sum = sum_lines(sum, shared, of.width);
    if (of.writes()) y[of.at(blockIdx.x)] = sum / (float)of.rows;
}

// The larger one, or the first of equal ones.
__device__ inline Largest larger(Largest a, Largest b) {
    bool earlier = b.tap < a.tap;
    Largest first = earlier ? b : a, second = earlier ? a : b;
    first.meet(second.value, second.tap);
    return first;
}

// The same with the maximum, where pixel t is tap t.
extern "C" __global__ void pool2d_global_max(Columns of, const float *x, float *y, unsigned *taps) {
    __shared__ Largest shared[THREADS];
    x += (int)blockIdx.x * of.rows * of.columns;
    Largest largest = Largest::of_nothing();
    for (int row = of.line(); of.inside() && row < of.rows; row += of.lines()) largest.meet(x[of.at(row)], row);
    largest = join_lines(largest, shared, of.width, larger);
    if (!of.writes()) return;
    y[of.at(blockIdx.x)] = largest.value;
    if (taps) taps[of.at(blockIdx.x)] = largest.tap;
}

// y = f(max over the taps), as behind a convolution. Overwrites y, and the winners, if wanted, with a byte of each
// window's tap.
extern "C" __global__ void pool2d_tail(Windows windows, Activation f, const float *x, float *y,
                                       unsigned char *winners, int count) {
    int at = this_number();
    if (at >= count) return;
    Largest largest = Largest::of_nothing();
    windows.each_met(windows.of_output(at), [&](int from, int tap) { largest.meet(x[from], tap); });
    y[at] = finish(largest, f, winners ? winners + at : nullptr);
}

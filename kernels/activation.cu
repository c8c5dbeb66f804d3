// y = f(x), number by number, and the way back from y alone; sums of two tensors.
#include "common.cuh"
#include "elements.cuh"

// Overwrites y.
extern "C" __global__ void activation_apply(const float *x, float *y, Activation f, int count) {
    int at = this_number();
    if (at < count) y[at] = flushed(f.value(x[at]));
}

// dy ← dy·f′
extern "C" __global__ void activation_slope(const float *y, float *dy, Activation f, int count) {
    int at = this_number();
    if (at < count) dy[at] = flushed(dy[at] * f.slope(y[at]));
}

// y = f(x + other), overwritten.
extern "C" __global__ void activation_add(const float *x, const float *other, float *y, Activation f, int count) {
    int at = this_number();
    if (at < count) y[at] = flushed(f.value(x[at] + other[at]));
}

// to ← to + share
extern "C" __global__ void activation_add_into(float *to, const float *share, int count) {
    int at = this_number();
    if (at < count) to[at] += share[at];
}

extern "C" __global__ void activation_copy(const float *from, float *to, int count) {
    int at = this_number();
    if (at < count) to[at] = from[at];
}

// Windows that slide over pictures, as in src/shape.rs: output o and tap u of an axis meet input o·s + u·d − p.
// x [N, H, W, C]  y [N, OH, OW, C], numbers counted in 31 bits
#pragma once

#include "elements.cuh"

// Steps from one number to the next: first and last.
struct Range {
    int first, last;

    __device__ int count() const { return last < first ? 0 : last - first + 1; }
};

struct Axis {
    Divisor input, output, stride, dilation;
    int kernel, before, padded;

    // The taps of output `out` that meet an input.
    __device__ Range met(int out) const {
        int start = out * stride.size - before;
        return taps(start < 0 ? dilation.quotient(-start + dilation.size - 1) : 0, input.size - 1 - start);
    }

    // The same, of an output that also counts the padding.
    __device__ Range met_padded(int out) const { return taps(0, padded - 1 - out * stride.size); }

    // The taps from `first` on that are at most `reach` away.
    __device__ Range taps(int first, int reach) const {
        int last = reach < 0 ? -1 : dilation.quotient(reach);
        return {first, last < kernel ? last : kernel - 1};
    }

    __device__ int input_of(int out, int tap) const { return out * stride.size + tap * dilation.size - before; }

    // The outputs whose windows reach over input `in`.
    __device__ Range over(int in) const {
        int start = in + before, reach = start - (kernel - 1) * dilation.size, last = stride.quotient(start);
        return {reach > 0 ? stride.quotient(reach + stride.size - 1) : 0, last < output.size ? last : output.size - 1};
    }

    // The only output whose window reaches over input `in`, and with which tap, where windows do not overlap and have no
    // gaps; below 0 where there is none.
    __device__ int only_over(int in, int &tap) const {
        int out = stride.divide(in + before, tap);
        return tap < kernel && out < output.size ? out : -1;
    }

    // The tap with which output `out`, one of those, meets input `in`; below 0 where it does so between two taps.
    __device__ int tap_of(int out, int in) const {
        int between, tap = dilation.divide(in + before - out * stride.size, between);
        return between == 0 ? tap : -1;
    }
};

// A number's place.
struct Place {
    int picture, row, column, channel;
};

struct Windows {
    Divisor channels;
    Axis rows, columns;

    __device__ Place of_input(int at) const { return place(at, rows.input, columns.input); }
    __device__ Place of_output(int at) const { return place(at, rows.output, columns.output); }

    __device__ int input_at(const Place &of, int row, int column) const {
        return ((of.picture * rows.input.size + row) * columns.input.size + column) * channels.size + of.channel;
    }

    __device__ int output_at(const Place &of, int row, int column) const {
        return ((of.picture * rows.output.size + row) * columns.output.size + column) * channels.size + of.channel;
    }

    __device__ Place place(int at, const Divisor &height, const Divisor &width) const {
        Place place;
        at = channels.divide(at, place.channel);
        at = width.divide(at, place.column);
        place.picture = height.divide(at, place.row);
        return place;
    }

    // Calls `each` with every input number that the window of an output meets, and the tap u·KW+v, in order.
    template <typename Each>
    __device__ void each_met(const Place &of, Each each) const {
        Range u = rows.met(of.row), v = columns.met(of.column);
        for (int i = u.first; i <= u.last; i++) {
            int row = rows.input_of(of.row, i);
            for (int j = v.first; j <= v.last; j++) {
                each(input_at(of, row, columns.input_of(of.column, j)), i * columns.kernel + j);
            }
        }
    }

    // Calls `each` with every output number whose window meets an input, its place and the tap u·KW+v, in order.
    template <typename Each>
    __device__ void each_over(const Place &of, Each each) const {
        Range above = rows.over(of.row), beside = columns.over(of.column);
        for (int i = above.first; i <= above.last; i++) {
            int u = rows.tap_of(i, of.row);
            for (int j = beside.first; u >= 0 && j <= beside.last; j++) {
                int v = columns.tap_of(j, of.column);
                if (v >= 0) each(output_at(of, i, j), i, j, u * columns.kernel + v);
            }
        }
    }
};

// The largest number of a window so far, and its tap: below 0 where nothing was met.
struct Largest {
    float value;
    int tap;

    static __device__ Largest of_nothing() { return {-infinity(), -1}; }

    __device__ void meet(float next, int next_tap) {
        // The first one counts whatever it is.
        if (tap < 0 || wins(next, value)) *this = {next, next_tap};
    }
};

// y = f(largest), and the byte that tells the winner: none where nothing was met, or where a ReLU gave 0.
__device__ inline float finish(Largest largest, Activation f, unsigned char *winner) {
    float y = flushed(f.value(largest.value));
    bool lost = largest.tap < 0 || (f.kind == Activation::RELU && y == 0.0f);
    if (winner) *winner = lost ? NO_TAP : (unsigned char)largest.tap;
    return y;
}

// What a convolution and its gradients read of pictures: c of tap (u,v) of output pixel (i,j) is
// x[n, i·s+u·d−p, j·s+v·d−p, c], 0 where that lies outside.
#pragma once
#include "matrix.cuh"
#include "window.cuh"

// The sizes of a convolution. Its windows' channels are those of x in a group.
struct Convolution {
    Windows windows;
    // KW, and F of a group
    Divisor across, filters;
    // C and F of all groups
    int c_in, c_out;
};

// An output pixel: the row and the column of its first tap, and where that is in x: modulo 2³², since it may be outside.
struct Origin {
    int row, column;
    unsigned at;
};

// A channel of a tap, seen from a pixel's origin.
struct Tap {
    int row, column;
    unsigned at;
};

// Of a pixel or a tap that is none: so far outside that nothing it meets is inside.
constexpr int NOWHERE = -(1 << 30);

struct Patches {
    const float *x;
    Convolution of;
    // Pixels that are counted: those of the output, or, with `pooled`, four for each window of a 2×2 pooling.
    Divisor height, width;
    int pixels;
    bool pooled;
    // Whether four channels may be read at once.
    bool quads;

    __device__ Origin origin(int group, int pixel) const {
        if (pixel >= pixels) return {NOWHERE, NOWHERE, 0};
        int row, column, window = pooled ? pixel / 4 : pixel;
        int picture = height.divide(width.divide(window, column), row);
        if (pooled) row = 2 * row + pixel / 2 % 2, column = 2 * column + pixel % 2;
        const Axis &rows = of.windows.rows, &columns = of.windows.columns;
        row = rows.input_of(row, 0), column = columns.input_of(column, 0);
        return {row, column, ((unsigned)(picture * rows.input.size + row) * columns.input.size + column) * of.c_in
                                 + group * of.windows.channels.size};
    }

    // The tap, and its channel in the group, with this number of `end`: row k of w.
    __device__ Tap tap(int k, int end) const {
        if (k >= end) return {NOWHERE, NOWHERE, 0};
        int channel, column, row = of.across.divide(of.windows.channels.divide(k, channel), column);
        row *= of.windows.rows.dilation.size, column *= of.windows.columns.dilation.size;
        return {row, column, ((unsigned)row * of.windows.columns.input.size + column) * of.c_in + channel};
    }

    __device__ bool is_inside(const Origin &origin, const Tap &tap) const {
        return (unsigned)(origin.row + tap.row) < (unsigned)of.windows.rows.input.size
            && (unsigned)(origin.column + tap.column) < (unsigned)of.windows.columns.input.size;
    }

    __device__ float number(const Origin &origin, const Tap &tap) const {
        return is_inside(origin, tap) ? x[origin.at + tap.at] : 0.0f;
    }

    __device__ Quad quad(const Origin &origin, const Tap &tap) const {
        return is_inside(origin, tap) ? *reinterpret_cast<const Quad *>(&x[origin.at + tap.at]) : Quad{};
    }
};

// A row for each pixel, with all taps and their channels: cols [pixels, KH·KW·C].
struct PatchRows {
    static constexpr bool ALONG_K = true;
    using Line = Origin;

    Patches patches;

    __device__ Line line(int group, int pixel) const { return patches.origin(group, pixel); }

    __device__ Quad run(const Line &origin, int k, int end) const {
        if (patches.quads) return patches.quad(origin, patches.tap(k, end));
        return {patches.number(origin, patches.tap(k, end)), patches.number(origin, patches.tap(k + 1, end)),
                patches.number(origin, patches.tap(k + 2, end)), patches.number(origin, patches.tap(k + 3, end))};
    }
};

// The same, turned: a line for each channel of a tap, with all pixels.
struct PatchColumns {
    static constexpr bool ALONG_K = false;

    struct Line {
        int group;
        Tap taps[4];
    };

    Patches patches;
    // KH·KW·C
    int lines;

    __device__ Line line(int group, int index) const {
        Line line = {group, {patches.tap(index, lines)}};
#pragma unroll
        for (int i = 1; i < 4; i++) {
            if (!patches.quads) line.taps[i] = patches.tap(index + i, lines);
        }
        return line;
    }

    __device__ Quad run(const Line &line, int pixel, int end) const {
        Origin origin = patches.origin(line.group, pixel < end ? pixel : patches.pixels);
        if (patches.quads) return patches.quad(origin, line.taps[0]);
        return {patches.number(origin, line.taps[0]), patches.number(origin, line.taps[1]),
                patches.number(origin, line.taps[2]), patches.number(origin, line.taps[3])};
    }
};

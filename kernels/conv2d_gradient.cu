// The way back through a convolution, from dz [N,OH,OW,F], where dz is given, or told by a pooling whose windows do not
// overlap: dz[n,i,j,f] = dy[n,I,J,f] for the pixel (i,j) that won window (I,J), and 0 elsewhere. It is never written down.
//
//     dw[u,v,c,f] = Σ_{n,i,j} x[n, i·s+u·d−p, j·s+v·d−p, c] · dz[n,i,j,f]          colsᵀ · dz
//     dx[n,h,w,c] = Σ_{u,v,f} dz[n,i,j,f] · w[u,v,c,f] with i·s+u·d−p = h, j·s+v·d−p = w
//     db[f] = Σ_{n,i,j} dz[n,i,j,f]
// All overwrite.
#include "common.cuh"
#include "columns.cuh"
#include "patches.cuh"

struct Gradient {
    const float *dy;
    // Null where dy is dz itself.
    const unsigned char *winners;
    // Over the rows and columns of dz.
    Windows pool;
    // The rows and columns of dz, and its filters in all groups.
    Divisor rows, columns;
    int c_out;
    // Whether four filters may be read at once.
    bool quads;

    // dz[n,i,j,f…f+4] of the filters before `end`.
    __device__ Quad run(int picture, int row, int column, int f, int end) const {
        if (!winners) {
            return read_run(dy + ((picture * rows.size + row) * columns.size + column) * c_out + f, end - f, quads);
        }
        int u, v, i = pool.rows.stride.divide(row + pool.rows.before, u);
        int j = pool.columns.stride.divide(column + pool.columns.before, v);
        bool seen = u < pool.rows.kernel && i < pool.rows.output.size
                 && v < pool.columns.kernel && j < pool.columns.output.size;
        int at = ((picture * pool.rows.output.size + i) * pool.columns.output.size + j) * c_out + f;
        return seen ? won(at, end - f, (unsigned)(u * pool.columns.kernel + v)) : Quad{};
    }

    // Those of `count` numbers of dy from `at` on that go to this tap.
    __device__ Quad won(int at, int count, unsigned tap) const {
        Quad four = read_run(dy + at, count, quads);
        unsigned bytes = 0;
        if (quads) {
            if (count > 0) bytes = *reinterpret_cast<const unsigned *>(winners + at);
        } else {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                if (i < count) bytes |= (unsigned)winners[at + i] << 8 * i;
            }
        }
        return {(bytes & 255) == tap ? four.x : 0.0f, (bytes >> 8 & 255) == tap ? four.y : 0.0f,
                (bytes >> 16 & 255) == tap ? four.z : 0.0f, bytes >> 24 == tap ? four.w : 0.0f};
    }
};

// dz [N·OH·OW, F]: for dw.
struct GradientColumns {
    static constexpr bool ALONG_K = false;

    struct Line {
        int first, end;
    };

    Gradient gradient;
    // F of a group
    int lines;

    __device__ Line line(int group, int index) const { return {group * lines + index, (group + 1) * lines}; }

    __device__ Quad run(const Line &line, int pixel, int end) const {
        if (pixel >= end || line.first >= line.end) return {};
        int row, column;
        int picture = gradient.rows.divide(gradient.columns.divide(pixel, column), row);
        return gradient.run(picture, row, column, line.first, line.end);
    }
};

// For dx: a row for each pixel (h,w) of x, with f of the taps through which it was seen, 0 for the others.
struct GradientRows {
    static constexpr bool ALONG_K = true;

    // The picture; the row and column that the first tap would have seen from output 0; below 0 for no pixel.
    struct Line {
        int picture, row, column, filter;
    };

    Gradient gradient;
    Convolution of;
    int lines;

    __device__ Line line(int group, int pixel) const {
        const Axis &rows = of.windows.rows, &columns = of.windows.columns;
        int row, column, filter = group * of.filters.size;
        int picture = rows.input.divide(columns.input.divide(pixel, column), row);
        if (pixel >= lines) return {0, -1, -1, filter};
        return {picture, row + rows.before, column + columns.before, filter};
    }

    // dz of the filters from f on, of the tap with this number.
    __device__ Quad tap(const Line &line, int tap, int f) const {
        const Axis &rows = of.windows.rows, &columns = of.windows.columns;
        int v, u = of.across.divide(tap, v);
        int row = line.row - u * rows.dilation.size, column = line.column - v * columns.dilation.size;
        // Not left early here: of that, NVRTC makes something else each time.
        bool seen = row >= 0 && column >= 0;
        int i, j, between_rows, between_columns;
        i = rows.stride.divide(seen ? row : 0, between_rows), j = columns.stride.divide(seen ? column : 0, between_columns);
        seen = seen && between_rows + between_columns == 0 && i < rows.output.size && j < columns.output.size;
        return seen ? gradient.run(line.picture, i, j, line.filter + f, line.filter + of.filters.size) : Quad{};
    }

    __device__ float number(const Line &line, int k, int end) const {
        int f, at = of.filters.divide(k, f);
        return k < end ? tap(line, at, f).x : 0.0f;
    }

    __device__ Quad run(const Line &line, int k, int end) const {
        if (gradient.quads) {
            int f, at = of.filters.divide(k, f);
            return k < end ? tap(line, at, f) : Quad{};
        }
        return {number(line, k, end), number(line, k + 1, end), number(line, k + 2, end), number(line, k + 3, end)};
    }
};

// w for dx: a line for each channel, with f of all taps.
struct TurnedWeights {
    static constexpr bool ALONG_K = true;

    // Where w[0,0,c,f] is, f the group's first; below 0 for no channel.
    using Line = int;

    const float *w;
    Convolution of;
    bool quads;

    __device__ Line line(int group, int channel) const {
        return channel < of.windows.channels.size ? channel * of.c_out + group * of.filters.size : -1;
    }

    __device__ const float *at(Line line, int k) const {
        int f, tap = of.filters.divide(k, f);
        return w + line + tap * of.windows.channels.size * of.c_out + f;
    }

    __device__ float number(Line line, int k, int end) const { return k < end && line >= 0 ? *at(line, k) : 0.0f; }

    __device__ Quad run(Line line, int k, int end) const {
        if (quads) return k < end && line >= 0 ? *reinterpret_cast<const Quad *>(at(line, k)) : Quad{};
        return {number(line, k, end), number(line, k + 1, end), number(line, k + 2, end), number(line, k + 3, end)};
    }
};

// Sizes, and whether runs of four may be read at once, of dy and of the other factor.
struct Backward {
    Cut cut;
    Convolution convolution;
    Windows pool;
    int dy_quads, quads;

    __device__ Gradient gradient(const float *dy, const unsigned char *winners) const {
        const Windows &windows = convolution.windows;
        return {dy, winners, pool, windows.rows.output, windows.columns.output, convolution.c_out, dy_quads != 0};
    }
};

template <class Sums>
__device__ void weight_gradient(
    const Backward &of, const float *x, const float *dy, const unsigned char *winners, float *dw
) {
    const Cut &cut = of.cut;
    const Windows &windows = of.convolution.windows;
    Patches patches = {x, of.convolution, windows.rows.output, windows.columns.output, cut.depth, false, of.quads != 0};
    GradientColumns b = {of.gradient(dy, winners), cut.columns};
    multiply<Sums>(PatchColumns{patches, cut.rows}, b, cut, Store::of_sums(dw, cut, of.convolution.c_out));
}

template <class Sums>
__device__ void input_gradient(
    const Backward &of, const float *dy, const unsigned char *winners, const float *w, float *dx
) {
    GradientRows a = {of.gradient(dy, winners), of.convolution, of.cut.rows};
    TurnedWeights b = {w, of.convolution, of.quads != 0};
    multiply<Sums>(a, b, of.cut, Store::of_sums(dx, of.cut, of.convolution.c_in));
}

extern "C" __global__ void __launch_bounds__(BLOCK, 5) weight_gradient_small(
    Backward of, const float *x, const float *dy, const unsigned char *winners, float *dw
) {
    weight_gradient<Small>(of, x, dy, winners, dw);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 4) weight_gradient_narrow(
    Backward of, const float *x, const float *dy, const unsigned char *winners, float *dw
) {
    weight_gradient<Narrow>(of, x, dy, winners, dw);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 3) weight_gradient_wide(
    Backward of, const float *x, const float *dy, const unsigned char *winners, float *dw
) {
    weight_gradient<Wide>(of, x, dy, winners, dw);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 5) input_gradient_small(
    Backward of, const float *dy, const unsigned char *winners, const float *w, float *dx
) {
    input_gradient<Small>(of, dy, winners, w, dx);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 4) input_gradient_narrow(
    Backward of, const float *dy, const unsigned char *winners, const float *w, float *dx
) {
    input_gradient<Narrow>(of, dy, winners, w, dx);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 3) input_gradient_wide(
    Backward of, const float *dy, const unsigned char *winners, const float *w, float *dx
) {
    input_gradient<Wide>(of, dy, winners, w, dx);
}

// sums[b, f] = Σ dy[r, f] over the rows r of block b of rows that somebody won
// dy, winners [N·PH·PW, F]  →  sums [blocks, F], overwritten
extern "C" __global__ void sum_winners(const float *dy, const unsigned char *winners, Columns of, float *sums) {
    __shared__ float shared[THREADS];
    float sum = of.sum(of.begin(), of.end(), [=](int row) {
        int at = of.at(row);
        return winners[at] == NO_TAP ? 0.0f : dy[at];
    });
    sum = sum_lines(sum, shared, of.width);
    if (of.writes()) sums[of.at(blockIdx.x)] = sum;
}

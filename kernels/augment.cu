// y[i,j,k] = Σ_{u,v ∈ {0,1}} |1−u−α| · |1−v−β| · x[⌊p⌋+u, ⌊q⌋+v, k]
// (p, q) = M · (i, j, 1)   α = p−⌊p⌋   β = q−⌊q⌋
// x [count, H, W, C], bytes  →  y [N, H, W, C], times `rescale`
//
// One bilinear sampling, as in src/data/augment/sample.rs: places are whole pixels in the upper 32 bits and parts of
// one in the lower, so that steps from pixel to pixel add up exactly and the same pixels are seen as on the CPU.
#include "common.cuh"
#include "elements.cuh"

typedef long long Fixed;

constexpr Fixed ONE = 1ll << 32;

// What one picture undergoes.
struct Row {
    // M without its last row (0, 0, 1).
    double matrix[2][3];
    unsigned picture;
    // 1: left and right are exchanged after M; 2: top and bottom.
    unsigned flips;
    // The factor of the values; 1 leaves them, also outside 0 to 255.
    float brightness;
    unsigned reserved;
};

struct Source {
    const unsigned char *pictures;
    unsigned count;
    int height;
    Divisor width;
    int channels;
};

// In the order of `Fill`.
enum Mode { NEAREST, CONSTANT, REFLECT, WRAP };

// What is seen beyond the edges of a picture.
struct Fill {
    int mode;
    // What `CONSTANT` shows.
    float value;
};

__device__ inline Fixed fixed(double x) {
    return (Fixed)round(x * (double)ONE);
}

// The place of pixel (row, column) along one axis of the source.
__device__ inline Fixed start(const double *m, int row, int column) {
    return fixed(m[0] * row + m[1] * column + m[2]);
}

__device__ inline Fixed wrapped(Fixed x, Fixed length) {
    Fixed rest = x % length;
    return rest < 0 ? rest + length : rest;
}

// The place from 0 to n − 1 (with `WRAP`: below n) that is seen at x; below 0 where the constant is seen.
__device__ inline Fixed inside(int mode, Fixed x, int n) {
    Fixed last = (Fixed)(n - 1) * ONE, length = last + ONE;
    if (x >= 0 && x <= last) return x;
    switch (mode) {
        case NEAREST: return x < 0 ? 0 : last;
        case CONSTANT: return -1;
        case WRAP: return wrapped(x, length);
    }
    // Pixels are cells one wide: the mirrors stand at −½ and n − ½.
    Fixed cell = wrapped(x + ONE / 2, 2 * length);
    cell = (cell < 2 * length - cell ? cell : 2 * length - cell) - ONE / 2;
    return cell < 0 ? 0 : cell > last ? last : cell;
}

// Pixels, and the part of one, of a place.
struct Spot {
    int pixel, next;
    float part;

    // Behind the last pixel is the first; its weight is 0 unless the picture wraps around.
    __device__ Spot(Fixed place, int n)
        : pixel((int)(place >> 32)), next(pixel + 1 < n ? pixel + 1 : 0), part((float)(unsigned)place / (float)ONE) {}
};

__device__ inline float line(float from, float to, float part) {
    return from + part * (to - from);
}

// A thread for each pixel (i, j) of each picture n: grid (blocks of a picture's pixels, N). Overwrites y.
extern "C" __global__ void augment(Source source, const Row *rows, const Control *control, int steps, Fill fill,
                                   float rescale, float *y) {
    // Where the rows of this block begin in the source; some cards are slow with f64.
    __shared__ Fixed starts[2][THREADS];
    int at = this_number(), n = blockIdx.y, j;
    int width = source.width.size, channels = source.channels, pixels = source.height * width;
    const Row &row = rows[control->row(steps) * (int)gridDim.y + n];
    bool mirrored = row.flips & 1;
    int first_row = source.width.quotient(blockIdx.x * THREADS), i = first_row + (int)threadIdx.x;
    if (i < source.height) {
        if (row.flips & 2) i = source.height - 1 - i;
        for (int axis = 0; axis < 2; axis++) {
            starts[axis][threadIdx.x] = start(row.matrix[axis], i, mirrored ? width - 1 : 0);
        }
    }
    __syncthreads();
    if (at >= pixels) return;
    i = source.width.divide(at, j) - first_row;
    double direction = mirrored ? -1.0 : 1.0;
    Fixed p = inside(fill.mode, starts[0][i] + j * fixed(row.matrix[0][1] * direction), source.height);
    Fixed q = inside(fill.mode, starts[1][i] + j * fixed(row.matrix[1][1] * direction), width);
    bool outside = p < 0 || q < 0;
    Spot down(outside ? 0 : p, source.height), right(outside ? 0 : q, width);
    unsigned picture = row.picture < source.count ? row.picture : source.count - 1;
    const unsigned char *x = source.pictures + (long long)picture * pixels * channels;
    const unsigned char *above = x + down.pixel * width * channels;
    const unsigned char *below = x + down.next * width * channels;
    y += (n * pixels + at) * channels;
    for (int c = 0; c < channels; c++) {
        int left = right.pixel * channels + c, beside = right.next * channels + c;
        float upper = line(above[left], above[beside], right.part);
        float lower = line(below[left], below[beside], right.part);
        float value = outside ? fill.value : line(upper, lower, down.part);
        if (row.brightness != 1.0f) value = fminf(fmaxf(value * row.brightness, 0.0f), 255.0f);
        y[c] = value * rescale;
    }
}

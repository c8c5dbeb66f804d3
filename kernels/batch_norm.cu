// y = f(max over a window of γ·x̂ + β),  x̂ = (x − μ)·r,  r = 1/√(σ² + ε),  for each channel on its own
// x [R, C]  γ, β, μ, σ², r [C]  →  y [PR, C]: all pixels of all pictures are rows
// (Ioffe & Szegedy, arXiv:1502.03167)
//
// In training μ = Σ x/R and σ² = Σ (x − μ)²/R.
// dβ = Σ dy    dγ = Σ dy·x̂    dx = γ·r·(dy − dβ/R − x̂·dγ/R)        with the batch's μ and r
//
// All of it waits for memory: every pass goes there once. A block has some rows; its sums are in f32, over lines of
// threads, and the blocks are put together in f64, in order.
#include "common.cuh"
#include "columns.cuh"
#include "window.cuh"

struct Norm {
    const float *mean, *inverse_deviation, *gamma, *beta;
};

// Of each block of rows: a number near its mean, and Σ d and Σ d² of d = x − near  →  parts [blocks, 3, C], overwritten
//
// `near` is the mean of the block's first quarter, so that little is lost where the mean is far from 0: then
// Σ (x − μ_k)² = Σ d² − (Σ d)²/m_k is at least a quarter of Σ d².
extern "C" __global__ void batch_norm_moments(const float *x, Columns of, float *parts) {
    __shared__ float shared[THREADS];
    __shared__ Pair<float> pairs[THREADS];
    int begin = of.begin(), end = of.end(), quarter = (end - begin + 3) / 4;
    float near = of.sum(begin, begin + quarter, [=](int row) { return x[of.at(row)]; });
    near = sum_lines(near, shared, of.width) / (float)quarter;
    Pair<float> distances = of.sum(begin, end, [=](int row) {
        float d = x[of.at(row)] - near;
        return Pair<float>{d, d * d};
    });
    distances = sum_lines(distances, pairs, of.width);
    if (!of.writes()) return;
    parts[of.at(3 * blockIdx.x)] = near;
    parts[of.at(3 * blockIdx.x + 1)] = distances.first;
    parts[of.at(3 * blockIdx.x + 2)] = distances.second;
}

// Overwrites mean and variance [C] with those of all blocks, put together as Chan, Golub and LeVeque do (1983):
// Σ (x − μ)² = Σ_k (Σ (x − μ_k)² + m_k·(μ_k − μ)²). `of` tells how the rows were cut; a block has `width` columns.
extern "C" __global__ void batch_norm_statistics(const float *parts, Columns of, int blocks, float *mean,
                                                 float *variance) {
    __shared__ double shared[THREADS];
    // The rows of block k, and how far its mean is from the number near it.
    auto pixels = [=](int k) {
        int left = of.rows - k * of.chunk;
        return (double)(left < of.chunk ? left : of.chunk);
    };
    auto rest = [=](int k) { return parts[of.at(3 * k + 1)] / pixels(k); };
    double all = of.sum(0, blocks, [=](int k) { return pixels(k) * (parts[of.at(3 * k)] + rest(k)); });
    all = sum_lines(all, shared, of.width) / of.rows;
    double squares = of.sum(0, blocks, [=](int k) {
        double away = parts[of.at(3 * k)] + rest(k) - all;
        return parts[of.at(3 * k + 2)] - parts[of.at(3 * k + 1)] * rest(k) + pixels(k) * away * away;
    });
    squares = sum_lines(squares, shared, of.width);
    if (!of.writes()) return;
    mean[of.column()] = (float)all;
    variance[of.column()] = (float)(squares / of.rows);
}

// r = 1/√(σ² + ε), overwritten.
extern "C" __global__ void batch_norm_inverse_deviation(const float *variance, float epsilon, float *r, int count) {
    int at = this_number();
    if (at < count) r[at] = 1.0f / sqrtf(variance[at] + epsilon);
}

// moving ← moving + (1 − momentum)·(new − moving), unless the training was halted.
extern "C" __global__ void batch_norm_follow(const Control *control, float *moving, const float *news, float part,
                                             int count) {
    int at = this_number();
    if (at < count && !control->halted) moving[at] += (news[at] - moving[at]) * part;
}

// γ·x̂ + β = x·scale + shift
struct Affine {
    float scale, shift;

    __device__ Affine(const Norm &norm, int c)
        : scale(flushed(norm.gamma[c] * norm.inverse_deviation[c])), shift(norm.beta[c] - norm.mean[c] * scale) {}

    __device__ float operator()(float x) const { return flushed(x * scale + shift); }
};

// y = f(γ·x̂ + β), overwritten.
extern "C" __global__ void batch_norm_forward(const float *x, Norm norm, Activation f, Columns of, float *y) {
    if (!of.inside()) return;
    Affine affine(norm, of.column());
    for (int row = of.begin() + of.line(); row < of.end(); row += of.lines()) {
        y[of.at(row)] = flushed(f.value(affine(x[of.at(row)])));
    }
}

// The same with a pooling: `of` is [N·PH·PW, C]. Overwrites y, and the winners, if wanted.
extern "C" __global__ void batch_norm_pooled(const float *x, Norm norm, Activation f, Windows windows, Columns of,
                                             float *y, unsigned char *winners) {
    if (!of.inside()) return;
    Affine affine(norm, of.column());
    for (int row = of.begin() + of.line(); row < of.end(); row += of.lines()) {
        int at = of.at(row);
        Largest largest = Largest::of_nothing();
        windows.each_met(windows.of_output(at), [&](int from, int tap) { largest.meet(affine(x[from]), tap); });
        y[at] = finish(largest, f, winners ? winners + at : nullptr);
    }
}

// What comes back: dy, of each row of x or, where there are winners, of each window.
struct Gradient {
    const float *dy;
    const unsigned char *winners;
    Windows windows;

    // The number of x that number `at` of dy goes back to, or below 0 where it goes nowhere.
    __device__ int source(int at) const {
        if (!winners) return at;
        int v, taps = windows.columns.kernel, u = winners[at] / taps;
        v = winners[at] - u * taps;
        Place place = windows.of_output(at);
        int row = windows.rows.input_of(place.row, u), column = windows.columns.input_of(place.column, v);
        bool met = winners[at] != NO_TAP && (unsigned)row < (unsigned)windows.rows.input.size &&
                   (unsigned)column < (unsigned)windows.columns.input.size;
        return met ? windows.input_at(place, row, column) : -1;
    }

    // The gradient of number `at` of x: that of the window that it won.
    __device__ float of_input(int at) const {
        if (!winners) return dy[at];
        Place place = windows.of_input(at);
        int u, v, i = windows.rows.only_over(place.row, u), j = windows.columns.only_over(place.column, v);
        if (i < 0 || j < 0) return 0.0f;
        int from = windows.output_at(place, i, j);
        return winners[from] == u * windows.columns.kernel + v ? dy[from] : 0.0f;
    }
};

// Of each block of rows of dy: Σ dy and Σ dy·(x − μ)  →  parts [blocks, 2, C], overwritten
extern "C" __global__ void batch_norm_products(const float *x, const float *mean, Gradient gradient, Columns of,
                                               float *parts) {
    __shared__ Pair<float> shared[THREADS];
    float centre = of.inside() ? mean[of.column()] : 0.0f;
    Pair<float> sums = of.sum(of.begin(), of.end(), [&](int row) {
        int at = of.at(row), from = gradient.source(at);
        float dy = from < 0 ? 0.0f : gradient.dy[at];
        return Pair<float>{dy, from < 0 ? 0.0f : dy * (x[from] - centre)};
    });
    sums = sum_lines(sums, shared, of.width);
    if (!of.writes()) return;
    parts[of.at(2 * blockIdx.x)] = sums.first;
    parts[of.at(2 * blockIdx.x + 1)] = sums.second;
}

// Overwrites dγ = r·Σ dy·(x − μ) and dβ = Σ dy [C] with the sums of all blocks; each is a row of `of`.
extern "C" __global__ void batch_norm_parameter_gradients(const float *parts, const float *r, Columns of, float *dgamma,
                                                          float *dbeta) {
    __shared__ Pair<double> shared[THREADS];
    Pair<double> sums = of.sum(0, of.rows, [=](int k) {
        return Pair<double>{parts[of.at(2 * k)], parts[of.at(2 * k + 1)]};
    });
    sums = sum_lines(sums, shared, of.width);
    if (!of.writes()) return;
    dbeta[of.column()] = (float)sums.first;
    dgamma[of.column()] = (float)(sums.second * r[of.column()]);
}

// dx = a·dy − ((x − μ)·b + c), overwritten: a = γ·r, b = a·r·dγ/R, c = a·dβ/R
extern "C" __global__ void batch_norm_input_gradient(const float *x, Norm norm, Gradient gradient, const float *dgamma,
                                                     const float *dbeta, Columns of, float *dx) {
    if (!of.inside()) return;
    int c = of.column();
    float mean = norm.mean[c], r = norm.inverse_deviation[c], slope = norm.gamma[c] * r, pixels = (float)of.rows;
    float by_distance = flushed(slope * r * (dgamma[c] / pixels)), by_all = flushed(slope * (dbeta[c] / pixels));
    slope = flushed(slope);
    for (int row = of.begin() + of.line(); row < of.end(); row += of.lines()) {
        int at = of.at(row);
        dx[at] = flushed(slope * gradient.of_input(at) - ((x[at] - mean) * by_distance + by_all));
    }
}

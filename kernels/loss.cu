// L = scale·Σₙ wₙ·lₙ     lₙ = f·Σ_k b(z[n,k], y[n,k])     dz[n,k] = wₙ·scale·f·b′(z[n,k], y[n,k])
// z [N, K]  y [N, K]  w [N]  →  dz [N, K]  log [2]
//
// z may be the output of a small dense layer, which is computed here, too: head.cuh.
//
// As in src/losses: in f64, since there are few numbers here, and the sum in a fixed order. A sample that weighs
// nothing is not looked at, whatever is predicted for it.
#include "common.cuh"
#include "columns.cuh"
#include "head.cuh"

// In the order of `LossKind`.
enum Kind { BINARY_FROM_LOGITS, CROSS_FROM_LOGITS, BINARY, CROSS, MEAN_SQUARED };

// How close to 0 and 1 a probability counts as it is.
constexpr double EPSILON = 1e-7;

// Each has a row for each step of a chunk.
struct Targets {
    const float *values;   // y [steps, N, K]
    const float *weights;  // w [steps, N]
    const int *labels;     // [steps, N]: the right answers, −1 where there is none
    const float *scale;    // [steps]
    int steps;
    // What a single output has to be above to speak for class 1.
    float threshold;
};

// b and b′
struct Term {
    double value, slope;
};

__device__ inline double clipped(double p) {
    return p < EPSILON ? EPSILON : p > 1.0 - EPSILON ? 1.0 - EPSILON : p;
}

__device__ inline bool is_clipped(double p) {
    return p < EPSILON || p > 1.0 - EPSILON;
}

// b = max(z, 0) − z·y + ln(1 + e^−|z|), b′ = σ(z) − y, where σ(z) = 1/(1 + e^−z) = e^z/(1 + e^z): the one whose power
// is small.
__device__ inline Term binary_of_logit(double z, double y) {
    double power = exp(-fabs(z)), p = (z < 0.0 ? power : 1.0) / (1.0 + power);
    return {fmax(z, 0.0) - z * y + log1p(power), p - y};
}

// b = −y·ln p − (1 − y)·ln(1 − p), b′ = (p − y) / (p·(1 − p)) inside the clip
__device__ inline Term binary_of_probability(double p, double y) {
    double inside = clipped(p);
    double slope = is_clipped(p) ? 0.0 : (p - y) / (p * (1.0 - p));
    return {-(y * log(inside) + (1.0 - y) * log(1.0 - inside)), slope};
}

// b = −y·ln p, b′ = −y/p inside the clip
__device__ inline Term cross_of_probability(double p, double y) {
    return {-y * log(clipped(p)), is_clipped(p) ? 0.0 : -y / p};
}

// With ln p = z − ln Σ e^z: b = −y·ln p, b′ = p·Σ y − y
__device__ inline Term cross_of_logit(double ln_p, double y, double sum) {
    return {-y * ln_p, exp(ln_p) * sum - y};
}

// Where each output is on its own.
__device__ inline Term plain(int kind, double p, double y) {
    switch (kind) {
        case BINARY_FROM_LOGITS: return binary_of_logit(p, y);
        case BINARY: return binary_of_probability(p, y);
        case CROSS: return cross_of_probability(p, y);
        default: return {(p - y) * (p - y), 2.0 * (p - y)};
    }
}

// A class and how much speaks for it.
struct Best {
    float z;
    int number;
};

// The larger one, or the first of equal ones; NaN is never larger.
__device__ inline Best better(Best a, Best b) {
    return b.z > a.z || (b.z == a.z && b.number < a.number) ? b : a;
}

// A block's threads: `samples` side by side, and for each of them some lines, which share its K outputs.
struct Sample {
    int outputs, samples;

    // Calls `each` with this thread's outputs.
    template <typename Each>
    __device__ void for_each(bool inside, Each each) const {
        for (int k = (int)threadIdx.x / samples; inside && k < outputs; k += THREADS / samples) each(k);
    }

    // ln Σ_k e^z_k. NaN in z comes out: the largest is found without it, the sum is not.
    __device__ double log_sum_exp(bool inside, const float *z, double *shared) const {
        double max = -infinity(), sum = 0.0;
        for_each(inside, [&](int k) { max = fmax(max, (double)z[k]); });
        max = join_lines(max, shared, samples, [](double a, double b) { return fmax(a, b); });
        for_each(inside, [&](int k) { sum += exp(z[k] - max); });
        return max + log(sum_lines(sum, shared, samples));
    }

    // The class of the largest output; of one output, whether it is above the threshold.
    __device__ int answer(bool inside, const float *z, float threshold, Best *shared) const {
        if (outputs == 1) return inside && z[0] > threshold;
        Best best = {-infinity(), 0};
        for_each(inside, [&](int k) { best = better(best, {z[k], k}); });
        return join_lines(best, shared, samples, better).number;
    }
};

// One block: overwrites z where there is a head, dz, and a step's row of the log with L and the number of right answers.
// Halts a training whose loss is not finite. Where it was halted before, dz = 0 and nothing else happens.
extern "C" __global__ void loss_gradient(int kind, int count, Sample of, Head head, float *z, Targets targets,
                                         Control *control, float *dz, float *log_rows) {
    __shared__ double sums[THREADS];
    __shared__ Best bests[THREADS];
    __shared__ int rights[THREADS];
    if (control->halted) {
        for (int at = threadIdx.x; at < count * of.outputs; at += THREADS) dz[at] = 0.0f;
        return;
    }
    if (head.w) {
        head.forward(count, of.outputs, z);
        __syncthreads();
    }
    int step = control->row(targets.steps), right = 0;
    double factor = kind == CROSS || kind == CROSS_FROM_LOGITS ? 1.0 : 1.0 / of.outputs;
    double scale = targets.scale[step], loss = 0.0;
    for (int first = 0; first < count; first += of.samples) {
        int n = first + (int)threadIdx.x % of.samples, row = step * count + n;
        bool inside = n < count;
        const float *p = z + n * of.outputs, *y = targets.values + row * of.outputs;
        double weight = inside ? targets.weights[row] * factor : 0.0, total = 0.0, ln_total = 0.0;
        if (kind == CROSS_FROM_LOGITS) {
            of.for_each(inside, [&](int k) { total += y[k]; });
            total = sum_lines(total, sums, of.samples);
            ln_total = of.log_sum_exp(inside, p, sums);
        }
        of.for_each(inside, [&](int k) {
            Term term = kind == CROSS_FROM_LOGITS ? cross_of_logit(p[k] - ln_total, y[k], total)
                                                  : plain(kind, p[k], y[k]);
            loss += weight == 0.0 ? 0.0 : weight * term.value;
            dz[n * of.outputs + k] = weight == 0.0 ? 0.0f : flushed((float)(weight * scale * term.slope));
        });
        int answer = of.answer(inside, p, targets.threshold, bests);
        right += inside && (int)threadIdx.x < of.samples && answer == targets.labels[row];
    }
    loss = scale * sum_lines(loss, sums, 1);
    right = sum_lines(right, rights, 1);
    if (threadIdx.x > 0) return;
    log_rows[2 * step] = (float)loss;
    log_rows[2 * step + 1] = (float)right;
    if (!is_finite(loss)) control->halted = Control::LOSS;
}

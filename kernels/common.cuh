// What all kernels share. Nothing of the toolkit is included: NVRTC has no headers, and g++, which builds the kernels
// for the tests' emulation of a GPU, none of CUDA's.
#pragma once

// q = ⌊n / size⌋ for 0 ≤ n < 2³¹ without a division: q = ⌊n·multiplier / 2³¹⁺ˢ⌋ with s = ⌈log₂ size⌉ and multiplier =
// ⌈2³¹⁺ˢ / size⌉. Rounding up adds less than n / 2³¹⁺ˢ < 1 / size to the quotient, which is too little to reach the next
// whole number. Made on the host: `parameters.rs`.
struct Divisor {
    int size;
    unsigned multiplier;
    int shift;

    __device__ int quotient(int n) const {
        unsigned high = (unsigned)((2ull * (unsigned)n * multiplier) >> 32);
        return (int)(high >> shift);
    }

    // n = quotient·size + remainder
    __device__ int divide(int n, int &remainder) const {
        int q = quotient(n);
        remainder = n - q * size;
        return q;
    }
};

// 0 for what is smaller than 2⁻⁶³, the square root of the smallest normal number, as on the CPU; NaN stays NaN.
__device__ inline float flushed(float x) {
    return fabsf(x) < 1.0842021724855044e-19f ? 0.0f : x;
}

// y = f(x), and f′ told from y; `alpha` is the slope of a leaky ReLU below 0. NaN stays NaN.
struct Activation {
    enum Kind { LINEAR, RELU, LEAKY_RELU, SIGMOID, TANH };

    int kind;
    float alpha;

    __device__ float value(float x) const {
        switch (kind) {
            case RELU: return x < 0.0f ? 0.0f : x;
            case LEAKY_RELU: return x < 0.0f ? alpha * x : x;
            // e^−|x| cannot overflow: 1 / (1 + e⁻ˣ) for x ≥ 0 is eˣ / (1 + eˣ) for x < 0.
            case SIGMOID: {
                float e = expf(-fabsf(x));
                return (x < 0.0f ? e : 1.0f) / (1.0f + e);
            }
            case TANH: return tanhf(x);
            default: return x;
        }
    }

    __device__ float slope(float y) const {
        switch (kind) {
            case RELU: return y <= 0.0f ? 0.0f : 1.0f;
            case LEAKY_RELU: return y < 0.0f ? alpha : 1.0f;
            case SIGMOID: return y * (1.0f - y);
            case TANH: return 1.0f - y * y;
            default: return 1.0f;
        }
    }
};

// The number that no tap of a pooling has: nobody won the window, and nothing comes back to it.
constexpr unsigned char NO_TAP = 255;

// Whether `next` takes the place of the largest number so far: the first of equal ones stays, and so does the first NaN.
__device__ inline bool wins(float next, float largest) {
    return next > largest || (next != next && largest == largest);
}

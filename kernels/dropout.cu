// y = x · m / (1 − p),  m = 0 with probability p, else 1: a function of the key and of the number's place alone, the
// same as on the CPU. The gradient goes the same way.
#include "common.cuh"
#include "elements.cuh"

// The finaliser of SplitMix64, as in src/random.rs.
__device__ inline unsigned long long mix(unsigned long long z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

// Which key, of a table [steps, stride].
struct Keys {
    const unsigned long long *keys;
    int steps, stride, number;
};

// Of the 2⁶⁴ numbers that can be drawn, `leaves` leave out. Overwrites y; x may be the same.
extern "C" __global__ void dropout(Keys of, const Control *control, unsigned long long leaves, float factor,
                                   const float *x, float *y, int count) {
    int at = this_number();
    if (at >= count) return;
    unsigned long long key = of.keys[control->row(of.steps) * of.stride + of.number];
    unsigned long long bits = mix(key + (at + 1ull) * 0x9e3779b97f4a7c15ull);
    y[at] = x[at] * (bits < leaves ? 0.0f : factor);
}

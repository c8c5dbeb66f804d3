// What CUDA C++ has and C++ has not, so that g++ compiles kernels/*.cu. Included before each of them.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __constant__ const
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)
// One block of a file runs at a time. Stands first: `__shared__ __align__(16) float tile[64];`
#define __shared__ static

#define VECTOR_TYPES(type, name)                                                                             \
    struct alignas(2 * sizeof(type)) name##2 { type x, y; };                                                 \
    struct name##3 { type x, y, z; };                                                                        \
    struct alignas(4 * sizeof(type) > 16 ? 16 : 4 * sizeof(type)) name##4 { type x, y, z, w; };              \
    inline name##2 make_##name##2(type x, type y) { return {x, y}; }                                         \
    inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }                              \
    inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }

VECTOR_TYPES(unsigned char, uchar)
VECTOR_TYPES(int, int)
VECTOR_TYPES(unsigned, uint)
VECTOR_TYPES(float, float)
VECTOR_TYPES(double, double)
#undef VECTOR_TYPES

#define MINIMUM_AND_MAXIMUM(type)                                       \
    inline type min(type a, type b) { return b < a ? b : a; }           \
    inline type max(type a, type b) { return a < b ? b : a; }

MINIMUM_AND_MAXIMUM(int)
MINIMUM_AND_MAXIMUM(unsigned)
MINIMUM_AND_MAXIMUM(long)
MINIMUM_AND_MAXIMUM(unsigned long)
MINIMUM_AND_MAXIMUM(long long)
MINIMUM_AND_MAXIMUM(unsigned long long)
#undef MINIMUM_AND_MAXIMUM

// NaN loses, as in CUDA.
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

template <typename To, typename From> To same_bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

inline unsigned __float_as_uint(float x) { return same_bits_as<unsigned>(x); }
inline int __float_as_int(float x) { return same_bits_as<int>(x); }
inline float __uint_as_float(unsigned x) { return same_bits_as<float>(x); }
inline float __int_as_float(int x) { return same_bits_as<float>(x); }

inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned __int128)a * b >> 64; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }

// Rounded on their own: what the compiler makes of a·b + c is one operation, of these it is not.
#define UNCONTRACTED __attribute__((optimize("fp-contract=off"), noinline)) inline
UNCONTRACTED float __fmul_rn(float a, float b) { return a * b; }
UNCONTRACTED float __fadd_rn(float a, float b) { return a + b; }
UNCONTRACTED double __dmul_rn(double a, double b) { return a * b; }
UNCONTRACTED double __dadd_rn(double a, double b) { return a + b; }
#undef UNCONTRACTED

inline float rsqrtf(float x) { return 1 / sqrtf(x); }
template <typename T> T __ldg(const T *from) { return *from; }

using std::isfinite;
using std::isinf;
using std::isnan;

namespace emulator {

// Where the thread of a kernel that runs right now is. Set whenever the threads change.
struct Place {
    uint3 thread, block, block_size, grid_size;
};

extern __thread Place place __attribute__((tls_model("initial-exec")));

// Waits until all threads of the block are here.
void meet_block(const char *site);

// Waits until all 32 threads of a warp are here; what each of them has given, to be read before the next meeting but one.
const void *meet_warp(const char *site, const void *given, size_t size);

}  // namespace emulator

#define threadIdx (emulator::place.thread)
#define blockIdx (emulator::place.block)
#define blockDim (emulator::place.block_size)
#define gridDim (emulator::place.grid_size)

#define SITE_TEXT(line) #line
#define SITE_LINE(line) SITE_TEXT(line)
#define SITE __FILE__ ":" SITE_LINE(__LINE__)
#define __syncthreads() emulator::meet_block(SITE)
// For what the threads of a warp do together: `const T *all = warp_gather(mine)` is what lanes 0..32 have given.
#define warp_gather(mine) static_cast<const std::remove_reference_t<decltype(mine)> *>(emulator::meet_warp(SITE, &(mine), sizeof(mine)))

// What CUDA C++ has and C++ has not, as far as kernels/*.cu use it, so that g++ compiles them. Included before each.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>
#include <type_traits>

#define __global__
#define __device__
#define __launch_bounds__(...)
// One block of a file runs at a time.
#define __shared__ static

struct uint3 {
    unsigned x, y, z;
};

template <typename To, typename From> To with_bits_of(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

inline unsigned __float_as_uint(float x) { return with_bits_of<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return with_bits_of<float>(x); }
inline float __int_as_float(int x) { return with_bits_of<float>(x); }

namespace emulator {

// Where the thread of a kernel that runs right now is. Set whenever the threads change.
struct Place {
    uint3 thread, block, block_size, grid_size;
};

extern __thread Place place __attribute__((tls_model("initial-exec")));

// Waits until all threads of the block are here.
void meet_block(const char *site);

// Waits until all 32 threads of a warp are here. Returns what each of them has given, to be read before the meeting
// after the next.
const void *meet_warp(const char *site, const void *given, size_t size);

// What the lane has given whose number differs by these bits.
template <typename T> T of_lane_across(const char *site, T mine, unsigned bits) {
    return static_cast<const T *>(meet_warp(site, &mine, sizeof mine))[place.thread.x % 32 ^ bits];
}

}  // namespace emulator

#define threadIdx (emulator::place.thread)
#define blockIdx (emulator::place.block)
#define blockDim (emulator::place.block_size)
#define gridDim (emulator::place.grid_size)

#define SITE_TEXT(line) #line
#define SITE_LINE(line) SITE_TEXT(line)
#define SITE __FILE__ ":" SITE_LINE(__LINE__)
#define __syncthreads() emulator::meet_block(SITE)
#define __shfl_xor_sync(all, mine, bits) emulator::of_lane_across(SITE, mine, bits)
// For what the threads of a warp do together: `const T *all = warp_gather(mine)` is what lanes 0..32 have given.
#define warp_gather(mine) \
    static_cast<const std::remove_reference_t<decltype(mine)> *>(emulator::meet_warp(SITE, &(mine), sizeof(mine)))

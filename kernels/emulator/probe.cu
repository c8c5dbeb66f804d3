// Kernels that do what a kernel must not do, for the tests of the emulation itself. Blocks of 64 threads, a thread for
// each number; where nothing goes wrong, `to` is overwritten.
#include "common.cuh"

__device__ inline int this_one() { return blockIdx.x * blockDim.x + threadIdx.x; }

// The numbers of each block backwards.
extern "C" __global__ void __launch_bounds__(64) reversed(const float *from, float *to, int count) {
    __shared__ float tile[64];
    int i = this_one();
    tile[threadIdx.x] = i < count ? from[i] : 0.0f;
    __syncthreads();
    if (i < count) to[i] = tile[63 - threadIdx.x];
}

extern "C" __global__ void no_barrier(const float *from, float *to, int count) {
    __shared__ float tile[64];
    int i = this_one();
    tile[threadIdx.x] = i < count ? from[i] : 0.0f;
    if (i < count) to[i] = tile[63 - threadIdx.x];
}

// The numbers of each warp backwards.
extern "C" __global__ void warp_reversed(const float *from, float *to, int) {
    const float *all = warp_gather(from[this_one()]);
    float mine = all[31 - threadIdx.x % 32];
    to[this_one()] = *(warp_gather(mine) + threadIdx.x % 32);
}

extern "C" __global__ void is_tf32(const float *, float *to, int) {
#ifdef TAPETUM_TF32
    to[this_one()] = 1.0f;
#else
    to[this_one()] = 0.0f;
#endif
}

extern "C" __global__ void shared_before_written(const float *, float *to, int) {
    __shared__ float tile[64];
    to[this_one()] = tile[threadIdx.x];
    tile[threadIdx.x] = 1.0f;
}

extern "C" __global__ void reads_past(const float *from, float *to, int count) {
    to[this_one()] = from[this_one() + count];
}

extern "C" __global__ void writes_past(const float *from, float *to, int count) {
    if (this_one() == 0) to[count] = from[0];
}

extern "C" __global__ void writes_before(const float *from, float *to, int) {
    if (this_one() == 0) to[-1] = from[0];
}

extern "C" __global__ void reads_null(const float *, float *to, int) {
    const float *nothing = nullptr;
    to[this_one()] = nothing[this_one()];
}

struct alignas(16) Four {
    float x, y, z, w;
};

extern "C" __global__ void reads_unaligned(const float *from, float *to, int) {
    to[this_one()] = reinterpret_cast<const Four *>(from + 1)->x;
}

extern "C" __global__ void reads_outside_tile(const float *from, float *to, int count) {
    __shared__ float tile[64];
    tile[threadIdx.x] = from[this_one()];
    __syncthreads();
    to[this_one()] = tile[threadIdx.x + count];
}

extern "C" __global__ void writes_one_struct_too_many(const float *from, float *to, int count) {
    Four fours[2] = {};
    for (int i = 0; i <= count / 32; i++) fours[i] = {from[i], from[i], from[i], from[i]};
    to[this_one()] = fours[1].x;
}

extern "C" __global__ void overflows(const float *, float *to, int count) {
    to[this_one()] = (float)(count * 0x7fffffff);
}

extern "C" __global__ void returns_early(const float *from, float *to, int) {
    if (threadIdx.x == 5) return;
    __syncthreads();
    to[this_one()] = from[this_one()];
}

extern "C" __global__ void waits_elsewhere(const float *from, float *to, int) {
    if (threadIdx.x == 5) {
        __syncthreads();
    } else {
        __syncthreads();
    }
    to[this_one()] = from[this_one()];
}

// What kernels must not do, for the tests of the emulation itself; and one that does nothing wrong.

extern "C" __global__ void reversed(const float *from, float *to, int count) {
    __shared__ float tile[64];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    tile[threadIdx.x] = i < count ? from[i] : 0.0f;
    __syncthreads();
    if (i < count) to[i] = tile[blockDim.x - 1 - threadIdx.x];
}

extern "C" __global__ void reversed_too_soon(const float *from, float *to, int count) {
    __shared__ float tile[64];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    tile[threadIdx.x] = i < count ? from[i] : 0.0f;
    if (i < count) to[i] = tile[blockDim.x - 1 - threadIdx.x];
}

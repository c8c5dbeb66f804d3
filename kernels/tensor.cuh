// The sums of a tile on tensor cores: factors are rounded to TF32 (10 bits behind the point), sums are FP32.
//
// A warp adds up fragments of 16×8 sums by mma.m16n8k8. With g = lane / 4 and t = lane % 4, a lane holds (PTX ISA,
// "Matrix Fragments for mma.m16n8k8"):
//     a(row, k)      (g, t)  (g+8, t)  (g, t+4)  (g+8, t+4)
//     b(k, column)   (t, g)  (t+4, g)
//     sums           (g, 2t)  (g, 2t+1)  (g+8, 2t)  (g+8, 2t+1)
#pragma once

// Numbers between the rows of a tile of factors: 8·t + g are 32 different banks.
constexpr int PAD = 8;

#ifdef __CUDACC__
__device__ inline float rounded(float x) {
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return __uint_as_float(bits);
}

__device__ inline void multiply_add(float (&sums)[4], const float (&a)[4], const float (&b)[2]) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])),
          "r"(__float_as_uint(a[3])), "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
}
#else
// The same on a CPU, where lanes look into each other's registers.
inline float rounded(float x) {
    return x == x ? __uint_as_float((__float_as_uint(x) + 0x1000u) & ~0x1fffu) : x;
}

inline void multiply_add(float (&sums)[4], const float (&a)[4], const float (&b)[2]) {
    struct Mine {
        float a[4], b[2];
    } mine;
    memcpy(mine.a, a, sizeof a);
    memcpy(mine.b, b, sizeof b);
    const Mine *lanes = warp_gather(mine);
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    for (int i = 0; i < 4; i++) {
        int row = g + i / 2 * 8, column = 2 * t + i % 2;
        for (int k = 0; k < 8; k++) {
            float left = lanes[row % 8 * 4 + k % 4].a[row / 8 + k / 4 * 2];
            float right = lanes[column * 4 + k % 4].b[k / 4];
            sums[i] += left * right;
        }
    }
}
#endif

// What is written into a tile of factors.
__device__ inline Quad prepared(Quad four) {
    return {rounded(four.x), rounded(four.y), rounded(four.z), rounded(four.w)};
}

template <int M_, int N_>
struct Sums {
    static constexpr int M = M_, N = N_;
    // Rows and columns of a warp, as near to a square as can be; its fragments of sums.
    static constexpr int WARP_M = M / (N == 32 && M == 128 ? 4 : 2), WARP_N = M * N / 4 / WARP_M;
    static constexpr int DOWN = WARP_M / 16, ABREAST = WARP_N / 8;

    float sums[DOWN][ABREAST][4] = {};

    __device__ static int lane() { return threadIdx.x % 32; }
    __device__ static int row() { return threadIdx.x / 32 / (N / WARP_N) * WARP_M; }
    __device__ static int column() { return threadIdx.x / 32 % (N / WARP_N) * WARP_N; }

    // Line `at` + `from` of a warp's SIDE lines, at number k; the parts that are known when this is compiled stay so.
    template <int SIDE>
    __device__ static int place(int from, int at, int k) {
        return (from ^ (turn(k) & -SIDE)) + ((at ^ turn(k)) & (SIDE - 1));
    }

    // Adds a [DEPTH][M + PAD] times b [DEPTH][N + PAD].
    __device__ void add(const float *a, const float *b) {
        int g = lane() / 4, t = lane() % 4;
        a += t * (M + PAD) + g;
        b += t * (N + PAD) + g;
#pragma unroll
        for (int first = 0; first < DEPTH; first += 8) {
            float left[DOWN][4], right[ABREAST][2];
#pragma unroll
            for (int i = 0; i < DOWN * 4; i++) {
                int k = first + i % 4 / 2 * 4;
                left[i / 4][i % 4] = a[k * (M + PAD) + place<WARP_M>(row(), i / 4 * 16 + i % 2 * 8, k)];
            }
#pragma unroll
            for (int i = 0; i < ABREAST * 2; i++) {
                int k = first + i % 2 * 4;
                right[i / 2][i % 2] = b[k * (N + PAD) + place<WARP_N>(column(), i / 2 * 8, k)];
            }
#pragma unroll
            for (int i = 0; i < DOWN; i++) {
#pragma unroll
                for (int j = 0; j < ABREAST; j++) multiply_add(sums[i][j], left[i], right[j]);
            }
        }
    }

    // Overwrites `to` [M][PITCH].
    template <int PITCH>
    __device__ void write(float *to) const {
        to += (row() + lane() / 4) * PITCH + column() + lane() % 4 * 2;
#pragma unroll
        for (int i = 0; i < DOWN * ABREAST * 4; i++) {
            int down = i / 4 / ABREAST, abreast = i / 4 % ABREAST;
            to[(down * 16 + i % 4 / 2 * 8) * PITCH + abreast * 8 + i % 2] = sums[down][abreast][i % 4];
        }
    }
};

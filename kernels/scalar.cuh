// The sums of a tile in FP32: each thread has 4×4, 8×4 or 8×8 of them, in fragments of four rows and four columns.
#pragma once

// Numbers between the rows of a tile of factors.
constexpr int PAD = 0;

// What is written into a tile of factors: the numbers as they are.
__device__ inline Quad prepared(Quad four) { return four; }

template <int M_, int N_>
struct Sums {
    static constexpr int M = M_, N = N_;
    static constexpr int ROWS = M == 64 ? 4 : 8, COLUMNS = M * N / BLOCK / ROWS;
    // Threads abreast, and the distance of a thread's fragments, between which lie those of the others.
    static constexpr int ABREAST = N / COLUMNS;
    // Both steps are multiples of 32, which `turn` leaves alone.
    static constexpr int ROW_STEP = M / (ROWS / 4), COLUMN_STEP = N / (COLUMNS / 4);

    float sums[ROWS][COLUMNS] = {};

    __device__ static int row() { return threadIdx.x / ABREAST * 4; }
    __device__ static int column() { return threadIdx.x % ABREAST * 4; }

    // Adds a [DEPTH][M + PAD] times b [DEPTH][N + PAD].
    __device__ void add(const float *a, const float *b) {
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            float left[ROWS], right[COLUMNS];
            fragments<ROWS, ROW_STEP>(left, a + k * (M + PAD) + (row() ^ turn(k)));
            fragments<COLUMNS, COLUMN_STEP>(right, b + k * (N + PAD) + (column() ^ turn(k)));
#pragma unroll
            for (int i = 0; i < ROWS; i++) {
#pragma unroll
                for (int j = 0; j < COLUMNS; j++) sums[i][j] += left[i] * right[j];
            }
        }
    }

    template <int COUNT, int STEP>
    __device__ static void fragments(float (&to)[COUNT], const float *from) {
#pragma unroll
        for (int first = 0; first < COUNT; first += 4) {
            Quad four = *reinterpret_cast<const Quad *>(from + first / 4 * STEP);
            to[first] = four.x;
            to[first + 1] = four.y;
            to[first + 2] = four.z;
            to[first + 3] = four.w;
        }
    }

    // Overwrites `to` [M][PITCH].
    template <int PITCH>
    __device__ void write(float *to) const {
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
#pragma unroll
            for (int j = 0; j < COLUMNS; j += 4) {
                float *at = to + (row() + i / 4 * ROW_STEP + i % 4) * PITCH + column() + j / 4 * COLUMN_STEP;
                *reinterpret_cast<Quad *>(at) = {sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3]};
            }
        }
    }
};

// What becomes of the tiles of a gradient that nobody writes down: the weights move by it at once.
#pragma once
#include "rule.cuh"
#include "tile.cuh"

// In the order of `Rule`.
enum RuleKind { ADAM, DESCEND, ROLL, ROLL_NESTEROV };

struct Move {
    int rule;
    // Of these weights [rows, columns] alone.
    Arena arena;

    // A tile of `sums` [M][PITCH] in shared memory.
    template <int M, int N, int PITCH>
    __device__ void tile(const float *sums, const Cut &cut, int, int row, int column) const {
        switch (rule) {
            case ADAM: return by<Adam, M, N, PITCH>(sums, cut, row, column);
            case DESCEND: return by<Descend, M, N, PITCH>(sums, cut, row, column);
            case ROLL: return by<Roll<false>, M, N, PITCH>(sums, cut, row, column);
            default: return by<Roll<true>, M, N, PITCH>(sums, cut, row, column);
        }
    }

    template <class Rule, int M, int N, int PITCH>
    __device__ void by(const float *sums, const Cut &cut, int row, int column) const {
        // Entries are far away: some are asked for before the first of them is needed.
        constexpr int AT_ONCE = 4, STEP = BLOCK / N;
        static_assert(M % (AT_ONCE * STEP) == 0, "no line is left over");
        int n = (int)threadIdx.x % N, rows = cut.rows - row;
        if (column + n >= cut.columns) return;
        Row numbers = arena.row();
        for (int first = (int)threadIdx.x / N; first < M && first < rows; first += AT_ONCE * STEP) {
            int at = (row + first) * cut.columns + column + n;
            Entry entries[AT_ONCE];
#pragma unroll
            for (int i = 0; i < AT_ONCE; i++) {
                if (first + i * STEP < rows) entries[i] = arena.read<Rule>(at + i * STEP * cut.columns);
            }
#pragma unroll
            for (int i = 0; i < AT_ONCE; i++) {
                if (first + i * STEP >= rows) break;
                float g = flushed(sums[(first + i * STEP) * PITCH + n]);
                arena.move<Rule>(numbers, at + i * STEP * cut.columns, g, entries[i]);
            }
        }
    }
};

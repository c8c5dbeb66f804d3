// Operands that are matrices in memory.
#pragma once
#include "tile.cuh"

// Four numbers of which the first `count` are there; at once where `quads` says that they may be read so.
__device__ inline Quad read_run(const float *from, int count, bool quads) {
    if (quads) return count > 0 ? *reinterpret_cast<const Quad *>(from) : Quad{};
    Quad four = {};
    if (count > 0) four.x = from[0];
    if (count > 1) four.y = from[1];
    if (count > 2) four.z = from[2];
    if (count > 3) four.w = from[3];
    return four;
}

// [lines][pitch], a line's numbers side by side. `quads`: the pitch and the depth are multiples of four.
struct Lines {
    static constexpr bool ALONG_K = true;
    // Where it begins; below 0 for none.
    using Line = int;

    const float *from;
    int lines, pitch;
    bool quads;

    __device__ Line line(int, int index) const { return index < lines ? index * pitch : -1; }

    __device__ Quad run(Line line, int k, int end) const { return read_run(from + line + k, line < 0 ? 0 : end - k, quads); }
};

// [depth][pitch], numbers of the same k side by side; a group's lines follow those of the group before.
// `quads`: the pitch and the lines of a group are multiples of four.
struct Across {
    static constexpr bool ALONG_K = false;

    struct Line {
        int first, count;
    };

    const float *from;
    int lines, pitch;
    bool quads;

    __device__ Line line(int group, int index) const { return {group * lines + index, lines - index}; }

    __device__ Quad run(Line line, int k, int end) const {
        return read_run(from + k * pitch + line.first, k < end ? line.count : 0, quads);
    }
};

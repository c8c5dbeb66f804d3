// Sums over the rows of a matrix, and one look at all gradients.
#include "common.cuh"
#include "columns.cuh"

// sums[b, c] = Σ_r x[r, c]  over the rows r of block b of rows
// x [R, C]  →  sums [blocks, C], overwritten
extern "C" __global__ void reduce_rows(const float *x, Columns of, float *sums) {
    __shared__ float shared[THREADS];
    float sum = of.sum(of.begin(), of.end(), [=](int row) { return x[of.at(row)]; });
    sum = sum_lines(sum, shared, of.width);
    if (of.writes()) sums[of.at(blockIdx.x)] = sum;
}

// What a look at some gradients found: Σ g², and 1 + the place of the first that is not finite, or 0.
struct Look {
    double squares;
    unsigned suspect;

    __device__ Look operator+(Look other) const {
        bool here = suspect != 0 && (other.suspect == 0 || suspect < other.suspect);
        return {squares + other.squares, here ? suspect : other.suspect};
    }
};

// The same in words: scratch memory is aligned to no more.
union Part {
    Look look;
    unsigned words[4];
};

// Tensors that are looked at together: the gradients that were written down, and then x and dy of each that was not.
struct Looks {
    // All but the first come in pairs.
    static constexpr int MOST = 15;

    struct Tensor {
        // [D], as D rows
        const float *numbers;
        Columns of;
        // The parts of its blocks.
        int first, blocks;
    };

    Tensor tensors[MOST];
    int count;
    // Gradients in their arena before the first tensor's.
    int before;
};

// Looks at a tensor for each z of the grid  →  parts [blocks], overwritten
extern "C" __global__ void reduce_squares(Looks looks, unsigned (*parts)[4]) {
    __shared__ Look shared[THREADS];
    const Looks::Tensor &tensor = looks.tensors[blockIdx.z];
    if ((int)blockIdx.x >= tensor.blocks) return;
    const float *numbers = tensor.numbers;
    Part part;
    part.look = tensor.of.sum(tensor.of.begin(), tensor.of.end(), [=](int at) {
        double number = numbers[at];
        return Look{number * number, is_finite(number) ? 0u : at + 1u};
    });
    part.look = sum_lines(part.look, shared, 1);
    if (threadIdx.x > 0) return;
    for (int word = 0; word < 3; word++) parts[tensor.first + blockIdx.x][word] = part.words[word];
}

// Whether all of the product xᵀ·dy is finite, whatever the order of its sums: |Σₙ x[n,d]·dy[n,f]| ≤ ‖x‖·‖dy‖. Half the
// largest number leaves room for rounding. NaN is not sure.
__device__ inline bool is_sure(double x_squares, double dy_squares) {
    return sqrt(x_squares) * sqrt(dy_squares) < 1.7e38;
}

// One block, for all parts; `width` columns of threads, one for each tensor and some more: overwrites `norm` with Σ g² of
// the gradients that were written down, and halts a training whose gradients are not finite, or not surely so.
extern "C" __global__ void reduce_check(
    Looks looks, int width, const unsigned (*parts)[4], Control *control, double *norm
) {
    __shared__ Look shared[THREADS];
    Look look = {};
    if (int which = (int)threadIdx.x % width; which < looks.count) {
        const Looks::Tensor &tensor = looks.tensors[which];
        for (int at = (int)threadIdx.x / width; at < tensor.blocks; at += THREADS / width) {
            Part part;
            for (int word = 0; word < 3; word++) part.words[word] = parts[tensor.first + at][word];
            look = look + part.look;
        }
    }
    look = sum_lines(look, shared, width);
    if (threadIdx.x > 0) return;
    *norm = look.squares;
    bool sure = true;
    for (int at = 1; at < looks.count; at += 2) sure &= is_sure(shared[at].squares, shared[at + 1].squares);
    if (control->halted) return;
    if (!sure) {
        control->halted = Control::UNSURE;
    } else if (look.suspect != 0) {
        control->halted = looks.before + look.suspect;
        control->number = looks.tensors[0].numbers[look.suspect - 1];
    }
}

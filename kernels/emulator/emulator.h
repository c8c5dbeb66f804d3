// What the files of the emulation share: kernels, the memory of the device, one launch.
#pragma once

#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

namespace emulator {

// A kernel whose parameters are known: to be called once by each thread.
using Program = std::function<void()>;

struct Module;

struct Kernel {
    const char *name;
    // The most threads of a block.
    unsigned threads;
    // Takes copies of the parameters that `values` lead to.
    Program (*bind)(void **values);
    Module *module;
};

// All kernels of one file, and its shared memory: that of one block at a time.
struct Module {
    const char *stem;
    bool tf32;
    std::vector<Kernel> kernels;
    char *shared, *shared_end;
    std::mutex busy;

    Module(const char *stem, bool tf32, std::vector<Kernel> kernels, char *shared, char *shared_end);
};

std::vector<Module *> &modules();

// What `__launch_bounds__` says.
constexpr unsigned at_most(unsigned threads = 1024, unsigned = 0) { return threads; }

template <auto kernel> struct Bound;

template <typename... Parameters, void (*kernel)(Parameters...)> struct Bound<kernel> {
    static Program bind(void **values) { return with(values, std::index_sequence_for<Parameters...>()); }

    template <size_t... at> static Program with([[maybe_unused]] void **values, std::index_sequence<at...>) {
        std::tuple<Parameters...> parameters(*static_cast<std::remove_const_t<Parameters> *>(values[at])...);
        return [parameters] { std::apply(kernel, parameters); };
    }
};

struct Launch {
    const Kernel *kernel;
    Program program;
    unsigned blocks[3];
    unsigned threads;
};

// Runs all blocks of a launch, one after the other.
void run(const Launch &launch);

// The orders in which blocks, and threads between two meetings, take their turns.
enum Order : unsigned { FORWARD, REVERSE, RANDOM };

// The order of the launches from this host thread; without it they take turns.
extern thread_local int chosen_order;

// What the kernel that runs on this host thread is called; null where none does.
extern thread_local const char *running;

// Memory that nobody has written: NaN as a float and as a double, nonsense as anything else.
void poison(void *memory, size_t size);

namespace memory {

// Null where there is no more.
void *allocate(size_t size);
// False where nothing begins there.
bool release(void *pointer);
// Whether all of it lies in one allocation.
bool contains(const void *pointer, size_t size);
// What lies at or around an address, in words.
std::string describe(const void *pointer);
// Stops the process if a kernel wrote beside an allocation.
void check();

}  // namespace memory

// Says what went wrong, where, and stops the process.
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

void catch_faults();

}  // namespace emulator

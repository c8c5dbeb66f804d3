// What a kernel must not do, told with the kernel, the block and the thread, before the process is stopped.

#include "cuda.h"
#include "emulator.h"

#include <algorithm>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <ucontext.h>
#include <unistd.h>

namespace emulator {

// Written without the C library's streams: they want more room than the stack has on which faults are handled.
void fail(const char *format, ...) {
    char text[512];
    size_t len = snprintf(text, sizeof text, "emulated GPU: ");
    auto add = [&](int printed) { len = std::min(len + printed, sizeof text - 2); };
    const auto &[thread, block, threads, blocks] = place;
    if (running) add(snprintf(text + len, sizeof text - len, "kernel %s, ", running));
    if (running && threads.x > 0) {
        const char *where = "block (%u, %u, %u), thread %u: ";
        add(snprintf(text + len, sizeof text - len, where, block.x, block.y, block.z, thread.x));
    }
    va_list values;
    va_start(values, format);
    add(vsnprintf(text + len, sizeof text - len, format, values));
    va_end(values);
    text[len++] = '\n';
    [[maybe_unused]] ssize_t written = write(STDERR_FILENO, text, len);
    abort();
}

namespace {

struct sigaction before;

// An access to a guard page, to the null pointer, or to what was released.
void on_fault(int, siginfo_t *info, void *context) {
    if (!running) {
        // Not a kernel's: whoever was to be told is told, since the same happens again.
        sigaction(SIGSEGV, &before, nullptr);
        return;
    }
    bool wrote = static_cast<ucontext_t *>(context)->uc_mcontext.gregs[REG_ERR] & 2;
    fail("%s %s", wrote ? "writes to" : "reads from", memory::describe(info->si_addr).c_str());
}

}  // namespace

void catch_faults() {
    struct sigaction ours {};
    ours.sa_sigaction = on_fault;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &ours, &before);
}

}  // namespace emulator

// The compiler's checks call these, by names that it has chosen, instead of its own library.
struct SourceLocation {
    const char *file;
    unsigned line, column;
};

#define CHECK(name, text)                                                                                     \
    extern "C" [[noreturn]] void __ubsan_handle_##name##_abort(SourceLocation *where) {                       \
        emulator::fail("%s:%u: " text, where->file, where->line);                                             \
    }

CHECK(out_of_bounds, "an index outside its array")
CHECK(add_overflow, "a sum overflows")
CHECK(sub_overflow, "a difference overflows")
CHECK(mul_overflow, "a product overflows")
CHECK(negate_overflow, "a negation overflows")
CHECK(divrem_overflow, "a division by zero, or one that overflows")
CHECK(shift_out_of_bounds, "a shift by too many bits, or of what is negative")
CHECK(float_cast_overflow, "a number that no integer of the type is near")
CHECK(type_mismatch_v1, "an address that is null, not aligned, or outside its object")

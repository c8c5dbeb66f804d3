// The threads of a block, one fiber each: a stack of its own, left and taken up again where threads meet.

#include "cuda.h"
#include "emulator.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <sys/mman.h>

#ifndef __x86_64__
#error "the emulation of a GPU switches stacks on x86-64 only"
#endif

namespace emulator {

__thread Place place __attribute__((tls_model("initial-exec")));
thread_local const char *running = nullptr;
thread_local int chosen_order = -1;

namespace {

constexpr size_t STACK = 1 << 16, GUARD = 1 << 12, WARP = 32, LARGEST_GIFT = 256;

// Keeps the registers that a function must keep on this stack, and goes on with what another stack has kept.
extern "C" void emulator_switch(void **kept, void *next);
asm(R"(
.text
.local emulator_switch
emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

void thread_main();

// A stack, with a page below it that must not be touched.
struct Stack {
    char *memory;

    Stack() {
        void *mapped = mmap(nullptr, GUARD + STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mapped == MAP_FAILED || mprotect(mapped, GUARD, PROT_NONE) != 0) fail("no room for a thread's stack");
        memory = static_cast<char *>(mapped);
    }
    Stack(const Stack &) = delete;
    ~Stack() { munmap(memory, GUARD + STACK); }

    // As `emulator_switch` leaves a stack: six registers, then where to go on.
    void *fresh() {
        void **top = reinterpret_cast<void **>(memory + GUARD + STACK);
        // Where a return address would be: a function begins 8 bytes beside a multiple of 16.
        *--top = nullptr;
        *--top = reinterpret_cast<void *>(thread_main);
        for (int i = 0; i < 6; ++i) *--top = nullptr;
        return top;
    }
};

enum class State { FRESH, READY, AT_BLOCK, AT_WARP, DONE };

struct Thread {
    State state;
    // Where it waits, or waited last.
    const char *site;
    std::unique_ptr<Stack> stack;
    void *kept;
};

// What the lanes of a warp give each other, of this meeting and the one before.
struct Warp {
    unsigned waiting, meetings;
    alignas(16) char given[2][WARP * LARGEST_GIFT];
};

uint64_t random_bits() {
    static thread_local uint64_t state = 0;
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

struct Block {
    const Launch *launch = nullptr;
    void *scheduler = nullptr;
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    std::vector<unsigned> turns;
    // Stacks of threads that are done: most kernels need few.
    std::vector<std::unique_ptr<Stack>> free;
    unsigned waiting = 0, done = 0;

    void run(const Launch &work, Order order);
    void resume(unsigned index);
    void go_ahead(unsigned warp, Order order);
    void all_met();
    [[noreturn]] void stuck();
    void leave() { emulator_switch(&threads[place.thread.x].kept, scheduler); }
};

// That of this host thread, while a kernel runs.
__thread Block *block __attribute__((tls_model("initial-exec"))) = nullptr;

void thread_main() {
    block->launch->program();
    block->threads[place.thread.x].state = State::DONE;
    block->leave();
    fail("a thread that was done went on");
}

void Block::run(const Launch &work, Order order) {
    launch = &work;
    waiting = done = 0;
    Module &module = *work.kernel->module;
    poison(module.shared, module.shared_end - module.shared);
    if (threads.size() < work.threads) threads.resize(work.threads);
    warps.resize((work.threads + WARP - 1) / WARP);
    for (unsigned i = 0; i < work.threads; ++i) threads[i].state = State::FRESH;
    for (Warp &warp : warps) warp.waiting = 0;
    turns.resize(work.threads);
    std::iota(turns.begin(), turns.end(), 0);
    if (order == REVERSE) std::reverse(turns.begin(), turns.end());
    while (done < work.threads) {
        // Fisher and Yates
        for (unsigned i = work.threads; order == RANDOM && --i > 0;) {
            std::swap(turns[i], turns[random_bits() % (i + 1)]);
        }
        bool went_on = false;
        for (unsigned index : turns) {
            if (threads[index].state > State::READY) continue;
            unsigned meetings = warps[index / WARP].meetings;
            resume(index);
            went_on = true;
            if (warps[index / WARP].meetings != meetings) go_ahead(index / WARP, order);
        }
        if (waiting == work.threads) all_met();
        else if (!went_on) stuck();
    }
}

void Block::resume(unsigned index) {
    Thread &thread = threads[index];
    if (thread.state == State::FRESH) {
        if (free.empty()) free.push_back(std::make_unique<Stack>());
        thread.stack = std::move(free.back());
        free.pop_back();
        thread.kept = thread.stack->fresh();
        thread.state = State::READY;
    }
    place.thread = {index, 0, 0};
    emulator_switch(&scheduler, thread.kept);
    if (thread.state == State::DONE) {
        free.push_back(std::move(thread.stack));
        ++done;
    }
}

// A warp that has met goes on until it waits for others: it is as far ahead of them as a warp can be.
void Block::go_ahead(unsigned warp, Order order) {
    unsigned meetings;
    do {
        meetings = warps[warp].meetings;
        for (unsigned i = 0; i < WARP; ++i) {
            unsigned index = warp * WARP + (order == REVERSE ? WARP - 1 - i : i);
            if (threads[index].state == State::READY) resume(index);
        }
    } while (meetings != warps[warp].meetings);
}

void Block::all_met() {
    for (unsigned i = 0; i < launch->threads; ++i) {
        if (threads[i].site != threads[0].site) stuck();
        threads[i].state = State::READY;
    }
    waiting = 0;
}

// Some threads wait for others that are gone, or that wait elsewhere.
void Block::stuck() {
    unsigned first = 0, other = 0;
    while (threads[first].state == State::DONE) ++first;
    auto differs = [&](const Thread &thread) {
        return thread.state != threads[first].state || thread.site != threads[first].site;
    };
    while (other + 1 < launch->threads && !differs(threads[other])) ++other;
    const char *where = threads[other].state == State::DONE ? "has returned" : "waits elsewhere";
    place.thread = {first, 0, 0};
    fail("waits at %s, but thread %u %s", threads[first].site, other, where);
}

}  // namespace

void meet_block(const char *site) {
    Thread &thread = block->threads[place.thread.x];
    thread.state = State::AT_BLOCK;
    thread.site = site;
    ++block->waiting;
    block->leave();
}

const void *meet_warp(const char *site, const void *given, size_t size) {
    unsigned index = place.thread.x;
    Warp &warp = block->warps[index / WARP];
    char *all = warp.given[warp.meetings % 2];
    if (size > LARGEST_GIFT) fail("%zu bytes are too many for a warp to exchange", size);
    memcpy(all + index % WARP * size, given, size);
    block->threads[index].site = site;
    if (++warp.waiting < WARP) {
        block->threads[index].state = State::AT_WARP;
        block->leave();
        return all;
    }
    for (unsigned lane = 0, first = index - index % WARP; lane < WARP; ++lane) {
        if (block->threads[first + lane].site != site) block->stuck();
        block->threads[first + lane].state = State::READY;
    }
    warp.waiting = 0;
    ++warp.meetings;
    return all;
}

void run(const Launch &launch) {
    static thread_local unsigned launches = 0;
    std::lock_guard<std::mutex> alone(launch.kernel->module->busy);
    Order order = Order(chosen_order >= 0 ? chosen_order : launches++ % 3);
    auto [x, y, z] = launch.blocks;
    size_t blocks = size_t(x) * y * z;
    // Steps of any size that has no factor in common with their number visit all.
    size_t start = order == RANDOM ? random_bits() % blocks : 0, step = 1;
    if (order == RANDOM) do step = 1 + random_bits() % blocks; while (std::gcd(step, blocks) != 1);
    running = launch.kernel->name;
    static thread_local Block own;
    block = &own;
    place.block_size = {launch.threads, 1, 1};
    place.grid_size = {x, y, z};
    for (size_t i = 0; i < blocks; ++i) {
        size_t at = order == REVERSE ? blocks - 1 - i : (start + i * step) % blocks;
        place.block = {unsigned(at % x), unsigned(at / x % y), unsigned(at / x / y)};
        block->run(launch, order);
    }
    place.block_size = {0, 0, 0};
    memory::check();
    running = nullptr;
}

}  // namespace emulator

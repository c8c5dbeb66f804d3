// The device's memory: each allocation ends where a page begins that must not be touched, and is nonsense until it is
// written.

#include "emulator.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <cwchar>
#include <deque>
#include <map>
#include <sys/mman.h>

namespace emulator {

void poison(void *memory, size_t size) {
    // NaN as a float and, twice, as a double. The C library's wide characters are the fastest way to fill with 32 bits.
    static_assert(sizeof(wchar_t) == 4);
    wmemset(static_cast<wchar_t *>(memory), wchar_t(0xfff5a5a5), size / 4);
    memset(static_cast<char *>(memory) + size / 4 * 4, 0xa5, size % 4);
}

namespace memory {
namespace {

constexpr size_t PAGE = 1 << 12, ALIGNMENT = 16, KEPT = 256;
constexpr char BESIDE = 0x5e;

// mapped: a guard page, the pages, a guard page. The slack beside the memory within its pages is filled with BESIDE.
struct Allocation {
    char *mapped, *begin;
    size_t size, pages;

    char *end() const { return begin + size; }
    char *guard() const { return mapped + PAGE + pages * PAGE; }
    bool covers(const char *address) const { return mapped <= address && address < guard() + PAGE; }
};

std::mutex lock;
std::map<char *, Allocation> allocations;
// The last ones that were released: nothing else comes to lie there for a while, so that their use is seen.
std::deque<Allocation> released;
size_t in_use = 0;

size_t total() {
    const char *limit = getenv("TAPETUM_EMULATOR_MEMORY");
    return limit ? strtoull(limit, nullptr, 10) : size_t(4) << 30;
}

// The allocation at an address, its guard pages included; null where there is none.
const Allocation *at(const void *pointer) {
    const char *address = static_cast<const char *>(pointer);
    for (const auto &[begin, allocation] : allocations)
        if (allocation.covers(address)) return &allocation;
    return nullptr;
}

bool is_beside(const char *from, const char *to) {
    while (from < to && *from == BESIDE) ++from;
    return from == to;
}

}  // namespace

void *allocate(size_t size) {
    std::lock_guard<std::mutex> held(lock);
    if (size > total() || in_use > total() - size) return nullptr;
    size_t pages = (size + PAGE - 1) / PAGE;
    void *mapped = mmap(nullptr, (pages + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) return nullptr;
    Allocation made{static_cast<char *>(mapped), nullptr, size, pages};
    if (mprotect(made.mapped + PAGE, pages * PAGE, PROT_READ | PROT_WRITE) != 0) fail("mprotect failed");
    made.begin = made.guard() - (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    memset(made.mapped + PAGE, BESIDE, made.begin - made.mapped - PAGE);
    poison(made.begin, size);
    memset(made.end(), BESIDE, made.guard() - made.end());
    allocations[made.begin] = made;
    in_use += size;
    return made.begin;
}

bool release(void *pointer) {
    std::lock_guard<std::mutex> held(lock);
    auto found = allocations.find(static_cast<char *>(pointer));
    if (found == allocations.end()) return false;
    Allocation gone = found->second;
    allocations.erase(found);
    in_use -= gone.size;
    size_t size = (gone.pages + 2) * PAGE;
    madvise(gone.mapped, size, MADV_DONTNEED);
    mprotect(gone.mapped, size, PROT_NONE);
    released.push_back(gone);
    if (released.size() > KEPT) {
        munmap(released.front().mapped, (released.front().pages + 2) * PAGE);
        released.pop_front();
    }
    return true;
}

bool contains(const void *pointer, size_t size) {
    std::lock_guard<std::mutex> held(lock);
    const char *address = static_cast<const char *>(pointer);
    const Allocation *allocation = at(address);
    if (!allocation || address < allocation->begin || allocation->end() < address) return false;
    return size <= size_t(allocation->end() - address);
}

std::string describe(const void *pointer) {
    const char *address = static_cast<const char *>(pointer);
    auto text = [&](const Allocation &allocation) {
        std::string of = " an allocation of " + std::to_string(allocation.size) + " bytes";
        if (address < allocation.begin) return std::to_string(allocation.begin - address) + " bytes before" + of;
        if (address < allocation.end()) return "byte " + std::to_string(address - allocation.begin) + " of" + of;
        return std::to_string(address - allocation.end()) + " bytes past the end of" + of;
    };
    if (address < reinterpret_cast<char *>(PAGE)) return "the null pointer";
    if (const Allocation *allocation = at(address)) return text(*allocation);
    for (const Allocation &allocation : released)
        if (allocation.covers(address)) return text(allocation) + " that was released";
    return "nothing";
}

void check() {
    std::lock_guard<std::mutex> held(lock);
    for (const auto &[begin, allocation] : allocations) {
        size_t size = allocation.size;
        if (!is_beside(allocation.mapped + PAGE, begin)) fail("wrote before an allocation of %zu bytes", size);
        if (!is_beside(allocation.end(), allocation.guard())) fail("wrote past an allocation of %zu bytes", size);
    }
}

}  // namespace memory
}  // namespace emulator

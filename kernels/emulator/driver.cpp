// The driver's functions, as far as they are called: all work is done when it is asked for. Those that FUNCTIONS in
// src/kernels/cuda/driver.rs names, and no others.

#include "emulator.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

using namespace emulator;

#define DRIVER extern "C" __attribute__((visibility("default"))) Result

enum Result {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    LAUNCH_FAILED = 719,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901,
    ILLEGAL_STATE = 401,
};

namespace {

struct Graph {
    std::vector<Launch> launches;
};

struct Stream {
    // What is captured, while it is.
    Graph *capture = nullptr;
    bool is_broken = false;
};

struct Event {
    std::chrono::steady_clock::time_point moment;
    bool is_recorded = false;
};

// What was loaded: one file's kernels, or anybody's where the code does not say.
struct Loaded {
    std::string stem;
    bool tf32;
};

int context;
thread_local void *current = nullptr;
// The stream that this thread captures: calls that could disturb that are refused.
thread_local Stream *capturing = nullptr;
std::atomic<size_t> launches = 0;
thread_local size_t launched = 0;
std::atomic<bool> is_lost = false;

// What every call on a context begins with.
Result ready() {
    if (is_lost) return LAUNCH_FAILED;
    return current ? SUCCESS : INVALID_CONTEXT;
}

// The same, for calls that no capture survives. A driver would capture copies, fills, and memory that comes and goes;
// but no step has any, so here they are mistakes.
Result ready_outside_captures() {
    if (capturing) {
        capturing->is_broken = true;
        return CAPTURE_UNSUPPORTED;
    }
    return ready();
}

#define CHECKED(call) if (Result result = call; result != SUCCESS) return result

// A launch that loses the device succeeds, as on a device, which is not waited for; what comes after it does not.
void launch(const Launch &work) {
    ++launched;
    const char *most = getenv("TAPETUM_EMULATOR_LAUNCHES");
    if (most && launches++ >= strtoull(most, nullptr, 10)) is_lost = true;
    if (!is_lost) run(work);
}

const Kernel *find(const Loaded &loaded, const char *name) {
    for (const Module *module : modules()) {
        if (module->tf32 != loaded.tf32 || (!loaded.stem.empty() && module->stem != loaded.stem)) continue;
        for (const Kernel &kernel : module->kernels)
            if (strcmp(kernel.name, name) == 0) return &kernel;
    }
    return nullptr;
}

}  // namespace

std::vector<Module *> &emulator::modules() {
    static std::vector<Module *> all;
    return all;
}

Module::Module(const char *stem, bool tf32, std::vector<Kernel> kernels, char *shared, char *shared_end)
    : stem(stem), tf32(tf32), kernels(std::move(kernels)), shared(shared), shared_end(shared_end) {
    for (Kernel &kernel : this->kernels) kernel.module = this;
    modules().push_back(this);
}

// Not the driver's: the order of blocks and threads in the launches from this host thread; -1: each order in turn.
extern "C" __attribute__((visibility("default"))) void tapetum_emulator_order(int order) { chosen_order = order; }

// Not the driver's: how many launches of this host thread were done so far, those of graphs included.
extern "C" __attribute__((visibility("default"))) size_t tapetum_emulator_launched() { return launched; }

DRIVER cuInit(unsigned) {
    static std::once_flag once;
    std::call_once(once, catch_faults);
    return SUCCESS;
}

DRIVER cuGetErrorName(Result error, const char **name) {
    *name = error == SUCCESS ? "CUDA_SUCCESS" : "CUDA_ERROR";
    return SUCCESS;
}

DRIVER cuGetErrorString(Result error, const char **text) {
    switch (error) {
        case SUCCESS: *text = "no error"; break;
        case INVALID_VALUE: *text = "invalid argument"; break;
        case OUT_OF_MEMORY: *text = "out of memory"; break;
        case INVALID_DEVICE: *text = "invalid device ordinal"; break;
        case INVALID_CONTEXT: *text = "invalid device context"; break;
        case INVALID_HANDLE: *text = "invalid resource handle"; break;
        case ILLEGAL_STATE: *text = "the operation cannot be performed in the present state"; break;
        case NOT_FOUND: *text = "named symbol not found"; break;
        case LAUNCH_FAILED: *text = "unspecified launch failure"; break;
        case CAPTURE_UNSUPPORTED: *text = "operation not permitted when stream is capturing"; break;
        case CAPTURE_INVALIDATED: *text = "operation failed due to a previous error during capture"; break;
        default: return INVALID_VALUE;
    }
    return SUCCESS;
}

DRIVER cuDeviceGetCount(int *count) { return *count = 1, SUCCESS; }

DRIVER cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return ordinal == 0 ? SUCCESS : INVALID_DEVICE;
}

DRIVER cuDeviceGetName(char *name, int len, int) {
    strncpy(name, "a GPU emulated on the CPU", len);
    return SUCCESS;
}

DRIVER cuDeviceGetAttribute(int *value, int attribute, int) {
    switch (attribute) {
        case 16: return *value = 132, SUCCESS;  // multiprocessors
        case 75: return *value = 9, SUCCESS;    // compute capability
        case 76: return *value = 0, SUCCESS;
        case 115: return *value = 1, SUCCESS;   // memory pools
        default: return INVALID_VALUE;
    }
}

DRIVER cuDevicePrimaryCtxRetain(void **to, int) { return *to = &context, SUCCESS; }

DRIVER cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }

DRIVER cuCtxGetCurrent(void **to) { return *to = current, SUCCESS; }

DRIVER cuCtxSetCurrent(void *to) { return current = to, SUCCESS; }

DRIVER cuMemAlloc_v2(void **pointer, size_t size) {
    CHECKED(ready_outside_captures());
    if (size == 0) return INVALID_VALUE;
    *pointer = memory::allocate(size);
    return *pointer ? SUCCESS : OUT_OF_MEMORY;
}

DRIVER cuMemAllocAsync(void **pointer, size_t size, Stream *) { return cuMemAlloc_v2(pointer, size); }

DRIVER cuMemFree_v2(void *pointer) {
    CHECKED(ready_outside_captures());
    return memory::release(pointer) ? SUCCESS : INVALID_VALUE;
}

DRIVER cuMemFreeAsync(void *pointer, Stream *) { return cuMemFree_v2(pointer); }

DRIVER cuMemsetD8Async(void *pointer, unsigned char value, size_t size, Stream *) {
    CHECKED(ready_outside_captures());
    if (!memory::contains(pointer, size)) return INVALID_VALUE;
    memset(pointer, value, size);
    return SUCCESS;
}

DRIVER cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t size, Stream *) {
    CHECKED(ready_outside_captures());
    if (!memory::contains(to, size)) return INVALID_VALUE;
    memcpy(to, from, size);
    return SUCCESS;
}

DRIVER cuMemcpyDtoHAsync_v2(void *to, const void *from, size_t size, Stream *) {
    CHECKED(ready_outside_captures());
    if (!memory::contains(from, size)) return INVALID_VALUE;
    memcpy(to, from, size);
    return SUCCESS;
}

// The code begins with its source, as in `// kernels/gemm.cu, TF32`: that source's own kernels are what is run.
DRIVER cuModuleLoadData(Loaded **loaded, const char *code) {
    CHECKED(ready());
    std::string line(code, strcspn(code, "\n"));
    size_t end = line.find(".cu"), slash = line.rfind('/', end);
    std::string stem = end == std::string::npos ? "" : line.substr(slash + 1, end - slash - 1);
    *loaded = new Loaded{stem, line.find("TF32") != std::string::npos};
    return SUCCESS;
}

DRIVER cuModuleUnload(Loaded *loaded) { return delete loaded, SUCCESS; }

DRIVER cuModuleGetFunction(const Kernel **kernel, const Loaded *loaded, const char *name) {
    CHECKED(ready());
    *kernel = find(*loaded, name);
    return *kernel ? SUCCESS : NOT_FOUND;
}

DRIVER cuLaunchKernel(const Kernel *kernel, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned threads_y,
                      unsigned threads_z, unsigned shared, Stream *stream, void **parameters, void **extra) {
    CHECKED(ready());
    bool is_grid = x > 0 && y > 0 && z > 0 && x <= 0x7fffffff && y <= 0xffff && z <= 0xffff;
    bool is_block = threads > 0 && threads <= kernel->threads && threads_y == 1 && threads_z == 1;
    if (!is_grid || !is_block || shared || extra) return INVALID_VALUE;
    Launch work{kernel, kernel->bind(parameters), {x, y, z}, threads};
    if (stream && stream->capture) stream->capture->launches.push_back(std::move(work));
    else launch(work);
    return SUCCESS;
}

DRIVER cuStreamCreate(Stream **stream, unsigned) {
    CHECKED(ready());
    *stream = new Stream;
    return SUCCESS;
}

DRIVER cuStreamDestroy_v2(Stream *stream) { return delete stream, SUCCESS; }

DRIVER cuStreamSynchronize(Stream *) { return ready_outside_captures(); }

DRIVER cuStreamBeginCapture_v2(Stream *stream, int) {
    CHECKED(ready());
    // The default stream cannot be captured, and none twice.
    if (!stream) return CAPTURE_UNSUPPORTED;
    if (stream->capture || capturing) return ILLEGAL_STATE;
    stream->capture = new Graph;
    stream->is_broken = false;
    capturing = stream;
    return SUCCESS;
}

DRIVER cuStreamEndCapture(Stream *stream, Graph **graph) {
    *graph = nullptr;
    if (!stream || capturing != stream) return ILLEGAL_STATE;
    capturing = nullptr;
    std::unique_ptr<Graph> captured(std::exchange(stream->capture, nullptr));
    if (stream->is_broken) return CAPTURE_INVALIDATED;
    *graph = captured.release();
    return ready();
}

DRIVER cuGraphInstantiateWithFlags(Graph **executable, const Graph *graph, unsigned long long) {
    CHECKED(ready());
    *executable = new Graph(*graph);
    return SUCCESS;
}

DRIVER cuGraphLaunch(const Graph *executable, Stream *stream) {
    CHECKED(ready());
    if (stream && stream->capture) return CAPTURE_UNSUPPORTED;
    for (const Launch &work : executable->launches) launch(work);
    return SUCCESS;
}

DRIVER cuGraphExecDestroy(Graph *executable) { return delete executable, SUCCESS; }

DRIVER cuGraphDestroy(Graph *graph) { return delete graph, SUCCESS; }

DRIVER cuEventCreate(Event **event, unsigned) {
    CHECKED(ready());
    *event = new Event;
    return SUCCESS;
}

DRIVER cuEventRecord(Event *event, Stream *) {
    CHECKED(ready_outside_captures());
    *event = {std::chrono::steady_clock::now(), true};
    return SUCCESS;
}

DRIVER cuEventSynchronize(Event *) { return ready_outside_captures(); }

DRIVER cuEventElapsedTime(float *milliseconds, const Event *from, const Event *to) {
    if (!from->is_recorded || !to->is_recorded) return INVALID_HANDLE;
    *milliseconds = std::chrono::duration<float, std::milli>(to->moment - from->moment).count();
    return ready();
}

DRIVER cuEventDestroy_v2(Event *event) { return delete event, SUCCESS; }

// CUDA C++ on one thread of a CPU, to see whether a kernel is right; it says nothing of its speed.
//
// Every thread of a block is a fiber that runs from barrier to barrier; in which order, the test says,
// so a barrier that is missing changes the answer. Shared memory is NaN at first, and fenced. Threads
// that wait at different barriers, or not at all, are an error, as is a block that no GPU would take.
// The threads of a warp meet in each instruction of its tensor cores, and go from barrier to barrier
// before another warp does.
#pragma once
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#ifdef __SSE__
#include <xmmintrin.h>
#endif

#define MSS_EMULATED 1
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)

namespace emulated {

constexpr size_t STACK = 64 * 1024, FENCE = 64;
constexpr unsigned char POISON = 0xFF;  // bytes of a NaN

constexpr unsigned WARP = 32;

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  const char* waits_at = nullptr;  // the name of a barrier, or of an instruction of the warp
  bool done = false;
};

struct Warp {
  const void* given[WARP];  // by each of its threads, to the instruction in which they meet
  unsigned arrived = 0;
  bool meets = false;  // in this block
};

struct Block {
  ucontext_t scheduler;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  std::vector<unsigned char> shared;
  std::function<void()> body;
  unsigned thread = 0, index = 0;
  std::string error;  // found by a fiber, from whose stack nothing can be thrown

  // Run a thread to where it waits; whether it could.
  bool advance(unsigned i) {
    if (fibers[i].done || fibers[i].waits_at != nullptr) return false;
    thread = i;
    swapcontext(&scheduler, &fibers[i].context);
    if (!error.empty()) throw std::runtime_error(error);
    return true;
  }
};

inline Block* block = nullptr;
inline std::string skipped;  // a barrier that is taken away

inline void barrier(const char* name) {
  if (skipped == name) return;
  Fiber& mine = block->fibers[block->thread];
  mine.waits_at = name;
  swapcontext(&mine.context, &block->scheduler);
}

// The last thread of a warp that arrives does the work of all; the others wait for it.
template <class Work>
void meet(const char* name, const void* mine, Work&& work) {
  const unsigned thread = block->thread, first = thread / WARP * WARP;
  Warp& warp = block->warps[thread / WARP];
  warp.given[thread % WARP] = mine;
  warp.meets = true;
  if (++warp.arrived < WARP) {
    block->fibers[thread].waits_at = name;
    swapcontext(&block->fibers[thread].context, &block->scheduler);
    return;
  }
  work(warp.given);
  warp.arrived = 0;
  for (unsigned i = first; i < first + WARP; ++i) {
    Fiber& f = block->fibers[i];
    if (i != thread && (f.waits_at == nullptr || std::strcmp(f.waits_at, name) != 0)) {
      block->error = std::string("the threads of a warp part at ") + name;
      swapcontext(&block->fibers[thread].context, &block->scheduler);  // for good
    }
    f.waits_at = nullptr;
  }
}

inline void begin() {
  block->body();
  block->fibers[block->thread].done = true;
  swapcontext(&block->fibers[block->thread].context, &block->scheduler);
}

// order: 0 forward, 1 backward, 2 and more shuffled by that seed.
inline void run_block(Block& b, unsigned index, size_t bytes, unsigned order) {
  b.index = index;
  b.shared.assign(bytes + 2 * FENCE, POISON);
  for (Warp& warp : b.warps) warp = Warp();
  std::vector<unsigned> turns(b.fibers.size());
  for (unsigned i = 0; i < turns.size(); ++i) {
    turns[i] = i;
    Fiber& f = b.fibers[i];
    f.done = false;
    f.waits_at = nullptr;
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get();
    f.context.uc_stack.ss_size = STACK;
    f.context.uc_link = nullptr;
    makecontext(&f.context, begin, 0);
  }
  if (order == 1) std::reverse(turns.begin(), turns.end());
  std::mt19937 random(order);
  for (;;) {
    if (order > 1) std::shuffle(turns.begin(), turns.end(), random);
    bool ran = false;
    for (unsigned i : turns) {
      bool more = b.advance(i);
      ran = ran || more;
      while (more && b.warps[i / WARP].meets) {  // who has met in it goes on together
        more = false;
        for (unsigned other : turns)
          if (other / WARP == i / WARP) more = b.advance(other) || more;
      }
    }
    if (ran) continue;
    const Fiber& first = b.fibers[0];
    for (const Fiber& f : b.fibers)
      if (f.done != first.done || (!f.done && std::strcmp(f.waits_at, first.waits_at) != 0))
        throw std::runtime_error(std::string("threads part at the barrier ") +
                                 (f.done ? first.waits_at : f.waits_at));
    if (first.done) break;
    for (Fiber& f : b.fibers) f.waits_at = nullptr;
  }
  for (size_t i = 0; i < FENCE; ++i)
    if (b.shared[i] != POISON || b.shared[FENCE + bytes + i] != POISON)
      throw std::runtime_error("a write outside of the shared memory");
}

template <class Kernel>
void launch(unsigned blocks, unsigned threads, size_t bytes, unsigned order, Kernel&& kernel) {
  if (threads > 1024) throw std::runtime_error("more than 1024 threads in a block");
  if (bytes > 227 * 1024) throw std::runtime_error("more than 227 KiB of shared memory");
  Block b;
  b.fibers.resize(threads);
  for (Fiber& f : b.fibers) f.stack.reset(new char[STACK]);
  b.warps.resize((threads + WARP - 1) / WARP);
  b.body = kernel;
  block = &b;
  for (unsigned i = 0; i < blocks; ++i) run_block(b, i, bytes, order);
  block = nullptr;
}

struct Thread {
  struct {
    operator unsigned() const { return block->thread; }
  } x;
};
struct Index {
  struct {
    operator unsigned() const { return block->index; }
  } x;
};

inline std::string message;

// Kernels are compiled with ftz, which is about float alone: subnormal numbers are zero, read or
// written. Without SSE they are what they are, and the bits of such numbers differ from a GPU's.
struct Flushing {
#ifdef __SSE__
  unsigned before = _mm_getcsr();
  explicit Flushing(bool flush) { _mm_setcsr(flush ? before | 0x8040 : before); }
  ~Flushing() { _mm_setcsr(before); }
#else
  explicit Flushing(bool) {}
#endif
};

template <class Kernel>
int guarded(unsigned blocks, unsigned threads, size_t bytes, unsigned order, const char* without,
            bool flush, Kernel&& kernel) {
  skipped = without;
  const Flushing mode(flush);
  try {
    launch(blocks, threads, bytes, order, kernel);
    return 0;
  } catch (const std::exception& error) {
    message = error.what();
    block = nullptr;
    return 1;
  }
}

}  // namespace emulated

static const emulated::Thread threadIdx{};
static const emulated::Index blockIdx{};
extern "C" const char* emulated_message() { return emulated::message.c_str(); }

#define MSS_BARRIER(name) ::emulated::barrier(#name)
#define MSS_DYNAMIC_SHARED(T, name) \
  T* name = reinterpret_cast<T*>(::emulated::block->shared.data() + ::emulated::FENCE)
#define EMULATED_LAUNCH unsigned blocks, unsigned threads, size_t bytes, unsigned order, const char* without
#define EMULATED(call) \
  return ::emulated::guarded(blocks, threads, bytes, order, without, sizeof(T) == 4, [&] { call; })

using std::fabs;
using std::fma;
using std::ilogb;
using std::ldexp;
using std::sqrt;

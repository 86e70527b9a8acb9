#include "cuda_on_cpu/emulator.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <numeric>
#include <string_view>

#include "cuda_on_cpu/fiber.h"
#include "kernels/cuda/error.h"
#if defined(SMPO_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

// The linker's names for the section that `__shared__` puts its arrays in; null when no kernel has one.
extern "C" {
extern unsigned char __start_smpo_shared[] __attribute__((weak, visibility("hidden")));
extern unsigned char __stop_smpo_shared[] __attribute__((weak, visibility("hidden")));
}

#if defined(SMPO_ASAN)
// Describes the position in a kernel; UndefinedBehaviorSanitizer's reports use it too.
extern "C" const char* __ubsan_default_options();
extern "C" const char* __ubsan_default_options() { return "print_stacktrace=1"; }
#endif

namespace smpo::kernels::cuda_on_cpu {
namespace {

constexpr int kWarp = 32;

// Limits of sm_80. A launch within them runs on every GPU that we build for.
constexpr unsigned kMostThreads = 1024;
constexpr unsigned kMostThreadsZ = 64;
constexpr unsigned kMostBlocksX = 0x7fffffffu;
constexpr unsigned kMostBlocksYZ = 65535;
constexpr size_t kMostSharedBytes = 163 * 1024;
constexpr size_t kRedZoneBytes = 4096;

constexpr unsigned char kUninitialized = 0xff;

// cudaError_t values that a launch returns.
constexpr int kErrorInvalidValue = 1;
constexpr int kErrorInvalidConfiguration = 9;

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t operator()() {  // splitmix64
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  uint64_t below(uint64_t bound) { return (*this)() % bound; }

 private:
  uint64_t state_;
};

template <class T>
void arrange(std::vector<T>& items, Order order, Random& random) {
  switch (order) {
    case Order::kForward:
      if (!std::is_sorted(items.begin(), items.end())) {
        std::sort(items.begin(), items.end());
      }
      break;
    case Order::kReverse:
      std::sort(items.begin(), items.end(), std::greater<>());
      break;
    case Order::kRandom:
      for (size_t i = items.size(); i > 1; --i) {
        std::swap(items[i - 1], items[random.below(i)]);
      }
      break;
  }
}

std::string text_of(unsigned x, unsigned y, unsigned z) {
  return "(" + std::to_string(x) + "," + std::to_string(y) + "," + std::to_string(z) + ")";
}

std::string text_of(const std::source_location& at) {
  std::string_view file = at.file_name();
  if (const size_t slash = file.rfind('/'); slash != std::string_view::npos) {
    file.remove_prefix(slash + 1);
  }
  return std::string(file) + ":" + std::to_string(at.line());
}

bool same_place(const std::source_location& a, const std::source_location& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         (a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0);
}

/// "0-31, 40": ascending numbers as ranges.
std::string ranges(const std::vector<int>& numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size();) {
    size_t end = i + 1;
    while (end < numbers.size() && numbers[end] == numbers[end - 1] + 1) {
      ++end;
    }
    text += i == 0 ? "" : ", ";
    text += std::to_string(numbers[i]);
    if (end - i > 1) {
      text += '-';
      text += std::to_string(numbers[end - 1]);
    }
    i = end;
  }
  return text;
}

std::string hex(unsigned mask) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "0x";
  for (int shift = 28; shift >= 0; shift -= 4) {
    text += kDigits[mask >> shift & 15u];
  }
  return text;
}

const char* name_of(Barrier kind) {
  switch (kind) {
    case Barrier::kPlain:
      return "__syncthreads";
    case Barrier::kCount:
      return "__syncthreads_count";
    case Barrier::kAnd:
      return "__syncthreads_and";
    case Barrier::kOr:
      return "__syncthreads_or";
  }
  return "barrier";
}

const char* name_of(Collective kind) {
  switch (kind) {
    case Collective::kSync:
      return "__syncwarp";
    case Collective::kShuffle:
      return "__shfl_sync";
    case Collective::kShuffleUp:
      return "__shfl_up_sync";
    case Collective::kShuffleDown:
      return "__shfl_down_sync";
    case Collective::kShuffleXor:
      return "__shfl_xor_sync";
    case Collective::kBallot:
      return "__ballot_sync";
    case Collective::kAny:
      return "__any_sync";
    case Collective::kAll:
      return "__all_sync";
    case Collective::kMatchAny:
      return "__match_any_sync";
    case Collective::kAdd:
    case Collective::kAddSigned:
      return "__reduce_add_sync";
    case Collective::kMin:
    case Collective::kMinSigned:
      return "__reduce_min_sync";
    case Collective::kMax:
    case Collective::kMaxSigned:
      return "__reduce_max_sync";
    case Collective::kAnd:
      return "__reduce_and_sync";
    case Collective::kOr:
      return "__reduce_or_sync";
    case Collective::kXor:
      return "__reduce_xor_sync";
  }
  return "warp collective";
}

bool is_shuffle(Collective kind) {
  return kind == Collective::kShuffle || kind == Collective::kShuffleUp || kind == Collective::kShuffleDown ||
         kind == Collective::kShuffleXor;
}

std::string name_of_kernel(const void* kernel) {
#if defined(SMPO_ASAN)
  char buffer[512] = {};
  // + 1: the symbolizer takes a return address and looks one byte before it.
  __sanitizer_symbolize_pc(const_cast<char*>(static_cast<const char*>(kernel)) + 1, "%f", buffer, sizeof(buffer));
  if (buffer[0] != '\0' && buffer[0] != '<') {
    return buffer;
  }
#else
  static_cast<void>(kernel);
#endif
  return "kernel";
}

// Not instrumented: it also writes the red zones between the arrays, which is harmless and saves finding the arrays.
__attribute__((no_sanitize("address"), no_sanitize("undefined"), noinline)) void poison_static_shared() {
  volatile unsigned char* byte = __start_smpo_shared;
  volatile unsigned char* const end = __stop_smpo_shared;
  for (; byte != end && reinterpret_cast<uintptr_t>(byte) % sizeof(uint64_t) != 0; ++byte) {
    *byte = kUninitialized;
  }
  for (; end - byte >= static_cast<ptrdiff_t>(sizeof(uint64_t)); byte += sizeof(uint64_t)) {
    *reinterpret_cast<volatile uint64_t*>(byte) = ~uint64_t{0};
  }
  for (; byte != end; ++byte) {
    *byte = kUninitialized;
  }
}

/// Memory for the dynamic shared array. Only the requested bytes are accessible.
class DynamicShared {
 public:
  DynamicShared() : bytes_(new unsigned char[2 * kRedZoneBytes + kMostSharedBytes]) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(bytes_.get()) + kRedZoneBytes / 2;
    start_ = bytes_.get() + (address / 1024 * 1024 + 1024 - reinterpret_cast<uintptr_t>(bytes_.get()));
  }

  void resize(size_t size) {
    size_ = size;
#if defined(SMPO_ASAN)
    __asan_poison_memory_region(bytes_.get(), 2 * kRedZoneBytes + kMostSharedBytes);
    __asan_unpoison_memory_region(start_, size);
#endif
  }

  void poison() { std::memset(start_, kUninitialized, size_); }

  void* get() { return start_; }

 private:
  std::unique_ptr<unsigned char[]> bytes_;
  unsigned char* start_ = nullptr;  // 1024-byte aligned
  size_t size_ = 0;
};

enum class State { kReady, kAtBarrier, kInWarp, kExited };

struct Thread {
  State state = State::kReady;
  Fiber* fiber = nullptr;  // fiber of a thread that has started and not exited
  uint3 index{};
  std::source_location at;
  // State at a barrier.
  Barrier barrier = Barrier::kPlain;
  int predicate = 0;
  // State in a warp collective.
  Collective collective = Collective::kSync;
  unsigned mask = 0;
  uint64_t value = 0;
  int operand = 0;
  int width = kWarp;
  // Result of the barrier or collective for this thread.
  uint64_t result = 0;
};

struct Warp {
  unsigned lanes = 0;    // lanes that exist
  unsigned waiting = 0;  // lanes that wait in a collective
  unsigned exited = 0;
  bool alike = true;  // whether all waiting lanes ask for the same operation
};

class Machine {
 public:
  static Machine& instance() {
    static Machine machine;
    return machine;
  }

  void run(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread);

  int block_barrier(Barrier kind, int predicate, const std::source_location& at);
  uint64_t warp_collective(Collective kind, unsigned mask, uint64_t value, int operand, int width,
                           const std::source_location& at);
  void preemption_point();
  void yield();
  int lane() const { return current_ % kWarp; }
  void* dynamic_shared() { return shared_.get(); }

  Schedule schedule;

 private:
  void check_launch(dim3 grid, dim3 block, size_t shared_bytes) const;
  void run_block(uint64_t number);
  void step(int thread);
  void release(int thread);
  void wait(State state);
  void release_barrier();
  void complete(int warp, unsigned mask);
  [[noreturn]] void fail_in_thread(const std::string& what) const;
  [[noreturn]] void fail(const std::string& what);
  std::string stuck() const;
  std::string thread_text(int thread) const;
  static void body(void* machine);

  std::mutex launches_;
  DynamicShared shared_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> free_fibers_;

  // The current launch.
  const void* kernel_ = nullptr;
  const std::function<void()>* thread_body_ = nullptr;
  Random random_{0};
  // The current block.
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<int> next_;  // threads that are ready for the next round
  int current_ = -1;       // the running thread, or -1
  int at_barrier_ = 0;
  int exited_ = 0;
  std::string fault_;
};

void Machine::check_launch(dim3 grid, dim3 block, size_t shared_bytes) const {
  const auto refuse = [&](int code, const std::string& why) {
    throw cuda::Error(code, name_of_kernel(kernel_) + ": grid " + text_of(grid.x, grid.y, grid.z) + ", block " +
                                text_of(block.x, block.y, block.z) + ", " + std::to_string(shared_bytes) +
                                " bytes of shared memory: " + why);
  };
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > kMostThreads || block.x > kMostThreads || block.y > kMostThreads ||
      block.z > kMostThreadsZ) {
    refuse(kErrorInvalidConfiguration, "a block has 1 to 1024 threads, at most 64 in z");
  }
  if (grid.x > kMostBlocksX || grid.y > kMostBlocksYZ || grid.z > kMostBlocksYZ) {
    refuse(kErrorInvalidConfiguration, "a grid has at most 2^31-1 blocks in x and 65535 in y and z");
  }
  if (shared_bytes > kMostSharedBytes) {
    refuse(kErrorInvalidValue, "sm_80 has at most 163 KB of shared memory per block");
  }
}

void Machine::run(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread) {
  const std::lock_guard<std::mutex> lock(launches_);
  kernel_ = kernel;
  check_launch(grid, block, shared_bytes);
  thread_body_ = &thread;
  random_ = Random(schedule.seed);
  gridDim = grid;
  blockDim = block;
  threads_.assign(size_t{block.x} * block.y * block.z, Thread{});
  warps_.assign((threads_.size() + kWarp - 1) / kWarp, Warp{});
  for (size_t i = 0; i < threads_.size(); ++i) {
    const unsigned t = static_cast<unsigned>(i);
    threads_[i].index = {t % block.x, t / block.x % block.y, t / block.x / block.y};
    warps_[i / kWarp].lanes |= 1u << i % kWarp;
  }
  shared_.resize(shared_bytes);

  std::vector<uint64_t> blocks(uint64_t{grid.x} * grid.y * grid.z);
  std::iota(blocks.begin(), blocks.end(), uint64_t{0});
  arrange(blocks, schedule.order, random_);
  for (const uint64_t number : blocks) {
    run_block(number);
  }
  shared_.resize(0);
}

void Machine::run_block(uint64_t number) {
  blockIdx = {static_cast<unsigned>(number % gridDim.x), static_cast<unsigned>(number / gridDim.x % gridDim.y),
              static_cast<unsigned>(number / gridDim.x / gridDim.y)};
  poison_static_shared();
  shared_.poison();

  // A fault leaves fibers unfinished; their stacks are reused here.
  free_fibers_.clear();
  for (const auto& fiber : fibers_) {
    free_fibers_.push_back(fiber.get());
  }
  fault_.clear();
  at_barrier_ = 0;
  exited_ = 0;
  const int count = static_cast<int>(threads_.size());
  next_.clear();
  for (int i = 0; i < count; ++i) {
    threads_[i].state = State::kReady;
    threads_[i].fiber = nullptr;
    next_.push_back(i);
  }
  for (Warp& warp : warps_) {
    warp.waiting = warp.exited = 0;
  }
  std::vector<int> round;
  while (exited_ < count) {
    if (next_.empty()) {
      fail(stuck());
    }
    round.clear();
    round.swap(next_);
    arrange(round, schedule.order, random_);
    for (const int thread : round) {
      step(thread);
    }
  }
}

void Machine::body(void* machine) {
  Machine& self = *static_cast<Machine*>(machine);
  try {
    (*self.thread_body_)();
  } catch (const Fault& fault) {
    self.fault_ = fault.what();
  } catch (const std::exception& exception) {
    self.fault_ = std::string("exception in a kernel: ") + exception.what();
  } catch (...) {
    self.fault_ = "exception in a kernel";
  }
}

void Machine::step(int i) {
  Thread& thread = threads_[i];
  if (thread.fiber == nullptr) {
    if (free_fibers_.empty()) {
      fibers_.push_back(std::make_unique<Fiber>());
      free_fibers_.push_back(fibers_.back().get());
    }
    thread.fiber = free_fibers_.back();
    free_fibers_.pop_back();
    thread.fiber->start(&Machine::body, this);
  }
  current_ = i;
  threadIdx = thread.index;
  const bool unfinished = thread.fiber->resume();
  current_ = -1;
  if (!fault_.empty()) {
    fail(fault_);
  }
  if (!unfinished) {
    thread.state = State::kExited;
    warps_[i / kWarp].exited |= 1u << i % kWarp;
    ++exited_;
    free_fibers_.push_back(thread.fiber);
    thread.fiber = nullptr;
  }
}

void Machine::release(int thread) {
  threads_[thread].state = State::kReady;
  next_.push_back(thread);
}

void Machine::wait(State state) {
  Thread& thread = threads_[current_];
  thread.state = state;
  thread.fiber->suspend();
}

/// Unwinds the fiber up to body(). The other fibers are dropped where they wait: no frame there owns memory.
void Machine::fail_in_thread(const std::string& what) const { throw Fault(thread_text(current_) + ": " + what); }

void Machine::fail(const std::string& what) {
  throw Fault(name_of_kernel(kernel_) + ", block " + text_of(blockIdx.x, blockIdx.y, blockIdx.z) + ": " + what);
}

std::string Machine::thread_text(int thread) const {
  const uint3& index = threads_[thread].index;
  return "thread " + text_of(index.x, index.y, index.z);
}

/// Reports a deadlock: where each thread waits, and which have exited.
std::string Machine::stuck() const {
  struct Group {
    std::string what;
    std::vector<int> threads;
  };
  std::vector<Group> groups;
  const auto add = [&](const std::string& what, int thread) {
    for (Group& group : groups) {
      if (group.what == what) {
        group.threads.push_back(thread);
        return;
      }
    }
    groups.push_back({what, {thread}});
  };
  for (int i = 0; i < static_cast<int>(threads_.size()); ++i) {
    const Thread& thread = threads_[i];
    switch (thread.state) {
      case State::kAtBarrier:
        add(std::string("wait in ") + name_of(thread.barrier) + " at " + text_of(thread.at), i);
        break;
      case State::kInWarp:
        add(std::string("wait in ") + name_of(thread.collective) + " with mask " + hex(thread.mask) + " at " +
                text_of(thread.at),
            i);
        break;
      case State::kExited:
        add("have exited", i);
        break;
      case State::kReady:
        break;
    }
  }
  std::string text = at_barrier_ > 0 ? "a barrier that not all threads reach" : "a warp that never meets";
  for (const Group& group : groups) {
    text += (&group == groups.data() ? ": threads " : "; threads ") + ranges(group.threads) + " " + group.what;
  }
  return text;
}

int Machine::block_barrier(Barrier kind, int predicate, const std::source_location& at) {
  Thread& thread = threads_[current_];
  thread.barrier = kind;
  thread.predicate = predicate;
  thread.at = at;
  if (++at_barrier_ == static_cast<int>(threads_.size())) {
    release_barrier();
    thread.fiber->suspend();
  } else {
    wait(State::kAtBarrier);
  }
  return static_cast<int>(thread.result);
}

/// Completes a barrier that all threads have reached. They must be at the same line: a GPU matches barriers by number,
/// not by line, so two different barriers that happen to match are an error.
void Machine::release_barrier() {
  const Thread& last = threads_[current_];
  int count = 0;
  for (int i = 0; i < static_cast<int>(threads_.size()); ++i) {
    const Thread& thread = threads_[i];
    if (thread.barrier != last.barrier || !same_place(thread.at, last.at)) {
      fail_in_thread(std::string("a barrier in divergent code: ") + name_of(last.barrier) + " at " + text_of(last.at) +
                     " meets " + name_of(thread.barrier) + " at " + text_of(thread.at) + " (" + thread_text(i) + ")");
    }
    count += thread.predicate != 0 ? 1 : 0;
  }
  const int threads = static_cast<int>(threads_.size());
  for (int i = 0; i < threads; ++i) {
    switch (last.barrier) {
      case Barrier::kPlain:
        break;
      case Barrier::kCount:
        threads_[i].result = static_cast<uint64_t>(count);
        break;
      case Barrier::kAnd:
        threads_[i].result = count == threads;
        break;
      case Barrier::kOr:
        threads_[i].result = count != 0;
        break;
    }
    release(i);
  }
  at_barrier_ = 0;
}

uint64_t Machine::warp_collective(Collective kind, unsigned mask, uint64_t value, int operand, int width,
                                  const std::source_location& at) {
  Thread& thread = threads_[current_];
  Warp& warp = warps_[current_ / kWarp];
  const int lane = current_ % kWarp;
  // Builds a string only when needed, because this frame may be dropped.
  const auto refuse = [&](const std::string& what) { fail_in_thread(name_of(kind) + (" at " + text_of(at)) + what); };
  if ((mask >> lane & 1u) == 0) {
    refuse(": mask " + hex(mask) + " does not name the calling lane " + std::to_string(lane));
  }
  if (const unsigned missing = mask & ~warp.lanes; missing != 0) {
    refuse(": mask " + hex(mask) + " names lane " + std::to_string(std::countr_zero(missing)) + " of a warp with " +
           std::to_string(std::popcount(warp.lanes)) + " lanes");
  }
  if (const unsigned gone = mask & warp.exited; gone != 0) {
    refuse(": mask " + hex(mask) + " names lane " + std::to_string(std::countr_zero(gone)) + ", which has exited");
  }
  if (is_shuffle(kind) && (width <= 0 || width > kWarp || !std::has_single_bit(static_cast<unsigned>(width)))) {
    refuse(": width " + std::to_string(width) + " is not a power of two up to 32");
  }
  const auto alike = [&](const Thread& peer) {
    return peer.mask == mask && peer.collective == kind && peer.width == width;
  };
  // Lanes in each other's masks must ask for the same operation. Disjoint groups with different masks are legal but
  // rare: while all waiting lanes agree, comparing with one of them is enough.
  if (warp.waiting == 0) {
    warp.alike = true;
  } else if (!warp.alike || !alike(threads_[current_ - lane + std::countr_zero(warp.waiting)])) {
    warp.alike = false;
    for (int other = 0; other < kWarp; ++other) {
      const Thread& peer = threads_[std::min(current_ - lane + other, static_cast<int>(threads_.size()) - 1)];
      if ((warp.waiting >> other & 1u) != 0 && ((mask >> other | peer.mask >> lane) & 1u) != 0 && !alike(peer)) {
        refuse(" with mask " + hex(mask) + ", width " + std::to_string(width) + ": lane " + std::to_string(other) +
               " is in " + name_of(peer.collective) + " at " + text_of(peer.at) + " with mask " + hex(peer.mask) +
               ", width " + std::to_string(peer.width));
      }
    }
  }
  thread.collective = kind;
  thread.mask = mask;
  thread.value = value;
  thread.operand = operand;
  thread.width = width;
  thread.at = at;
  warp.waiting |= 1u << lane;
  if ((mask & ~warp.waiting) == 0) {
    warp.waiting &= ~mask;
    complete(current_ / kWarp, mask);
    thread.fiber->suspend();  // scheduled again with the others
  } else {
    wait(State::kInWarp);
  }
  return thread.result;
}

/// Completes a collective that all lanes of `mask` have reached.
void Machine::complete(int warp, unsigned mask) {
  const Thread& caller = threads_[current_];
  Thread* const lanes = &threads_[warp * kWarp];

  std::vector<int> members;
  for (int lane = 0; lane < kWarp; ++lane) {
    if ((mask >> lane & 1u) != 0) {
      members.push_back(lane);
    }
  }
  unsigned ballot = 0;
  for (const int lane : members) {
    ballot |= lanes[lane].value != 0 ? 1u << lane : 0u;
  }
  const auto fold = [&](auto combine) {
    using Value = decltype(combine(0, 0));
    auto total = static_cast<Value>(lanes[members.front()].value);
    for (size_t i = 1; i < members.size(); ++i) {
      total = combine(total, static_cast<Value>(lanes[members[i]].value));
    }
    return static_cast<uint64_t>(static_cast<uint32_t>(total));
  };
  const auto as_unsigned = [](auto combine) {
    return [combine](uint32_t a, uint32_t b) -> uint32_t { return combine(a, b); };
  };
  const auto as_signed = [](auto combine) {
    return [combine](int32_t a, int32_t b) -> int32_t { return combine(a, b); };
  };
  const auto smaller = [](auto a, auto b) { return a < b ? a : b; };
  const auto larger = [](auto a, auto b) { return a < b ? b : a; };

  uint64_t common = 0;
  switch (caller.collective) {
    case Collective::kBallot:
      common = ballot;
      break;
    case Collective::kAny:
      common = ballot != 0;
      break;
    case Collective::kAll:
      common = ballot == mask;
      break;
    case Collective::kAdd:
    case Collective::kAddSigned:
      common = fold(as_unsigned([](uint32_t a, uint32_t b) { return a + b; }));
      break;
    case Collective::kMin:
      common = fold(as_unsigned(smaller));
      break;
    case Collective::kMax:
      common = fold(as_unsigned(larger));
      break;
    case Collective::kMinSigned:
      common = fold(as_signed(smaller));
      break;
    case Collective::kMaxSigned:
      common = fold(as_signed(larger));
      break;
    case Collective::kAnd:
      common = fold(as_unsigned([](uint32_t a, uint32_t b) { return a & b; }));
      break;
    case Collective::kOr:
      common = fold(as_unsigned([](uint32_t a, uint32_t b) { return a | b; }));
      break;
    case Collective::kXor:
      common = fold(as_unsigned([](uint32_t a, uint32_t b) { return a ^ b; }));
      break;
    default:
      break;
  }
  for (const int lane : members) {
    Thread& thread = lanes[lane];
    if (thread.collective == Collective::kMatchAny) {
      unsigned equal = 0;
      for (const int other : members) {
        equal |= lanes[other].value == thread.value ? 1u << other : 0u;
      }
      thread.result = equal;
    } else if (is_shuffle(thread.collective)) {
      const int first = lane & ~(thread.width - 1);  // first lane of this lane's segment
      const int last = first + thread.width - 1;
      int source = lane;
      switch (thread.collective) {
        case Collective::kShuffle:
          source = first + (thread.operand & (thread.width - 1));
          break;
        case Collective::kShuffleUp:
          source = thread.operand > lane - first ? lane : lane - thread.operand;
          break;
        case Collective::kShuffleDown:
          source = thread.operand > last - lane ? lane : lane + thread.operand;
          break;
        default:
          source = lane ^ thread.operand;
          source = source > last || source < 0 ? lane : source;
          break;
      }
      if ((mask >> source & 1u) == 0) {
        fail_in_thread(std::string(name_of(thread.collective)) + " at " + text_of(thread.at) + ": lane " +
                       std::to_string(lane) + " reads lane " + std::to_string(source) + ", which mask " + hex(mask) +
                       " does not name");
      }
      thread.result = lanes[source].value;
    } else {
      thread.result = common;
    }
  }
  for (const int lane : members) {
    release(warp * kWarp + lane);
  }
}

void Machine::preemption_point() {
  if (schedule.order == Order::kRandom && random_.below(4) == 0) {
    yield();
  }
}

void Machine::yield() {
  const int thread = current_;
  release(thread);
  threads_[thread].fiber->suspend();
}

}  // namespace

std::vector<Schedule> all_schedules() {
  return {{Order::kForward, 0}, {Order::kReverse, 0}, {Order::kRandom, 1},
          {Order::kRandom, 2},  {Order::kRandom, 3},  {Order::kRandom, 4}};
}

std::string name_of(const Schedule& schedule) {
  switch (schedule.order) {
    case Order::kForward:
      return "forward";
    case Order::kReverse:
      return "reverse";
    case Order::kRandom:
      break;
  }
  return "random" + std::to_string(schedule.seed);
}

WithSchedule::WithSchedule(const Schedule& schedule) : previous_(Machine::instance().schedule) {
  Machine::instance().schedule = schedule;
}

WithSchedule::~WithSchedule() { Machine::instance().schedule = previous_; }

void run(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread) {
  Machine::instance().run(kernel, grid, block, shared_bytes, thread);
}

void* dynamic_shared() { return Machine::instance().dynamic_shared(); }

int block_barrier(Barrier kind, int predicate, const std::source_location& at) {
  return Machine::instance().block_barrier(kind, predicate, at);
}

uint64_t warp_collective(Collective kind, unsigned mask, uint64_t value, int operand, int width,
                         const std::source_location& at) {
  return Machine::instance().warp_collective(kind, mask, value, operand, width, at);
}

void preemption_point() { Machine::instance().preemption_point(); }

void yield() { Machine::instance().yield(); }

int lane_index() { return Machine::instance().lane(); }

}  // namespace smpo::kernels::cuda_on_cpu

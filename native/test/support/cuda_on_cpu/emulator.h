// Runs CUDA kernels on the CPU: blocks one after another, the threads of a block as fibers. See README.md beside this.
#ifndef SMPO_TEST_SUPPORT_CUDA_ON_CPU_EMULATOR_H_
#define SMPO_TEST_SUPPORT_CUDA_ON_CPU_EMULATOR_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda_on_cpu/types.h"

namespace smpo::kernels::cuda_on_cpu {

/// What a kernel may not do and what a card would answer with a hang, garbage or nothing: a barrier that not all
/// threads reach, a shuffle whose mask names a lane that is not there. The message names the kernel, block, threads and
/// lines.
class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// In which order blocks run, and the threads of a block between two points where they wait. A kernel that lacks a
/// barrier gives the right result in some orders at most.
enum class Order { kForward, kReverse, kRandom };

struct Schedule {
  Order order = Order::kForward;
  uint64_t seed = 0;  // of kRandom, which also preempts threads at atomics
};

/// Forward, reverse and four random ones: what a kernel's test runs through.
std::vector<Schedule> all_schedules();
std::string name_of(const Schedule& schedule);

/// The schedule of every launch in this scope; forward outside of any.
class WithSchedule {
 public:
  explicit WithSchedule(const Schedule& schedule);
  ~WithSchedule();
  WithSchedule(const WithSchedule&) = delete;
  WithSchedule& operator=(const WithSchedule&) = delete;

 private:
  Schedule previous_;
};

/// Executes `thread` once for every thread of the grid. Throws kernels::cuda::Error where a card would refuse the
/// launch (the limits are those of sm_80, the smallest that we build for), Fault for what the kernel did wrong.
/// Launches of several host threads wait for each other. `kernel` serves the messages only.
void run(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread);

/// The running block's dynamic shared memory: as many bytes as its launch asked for, red zones around them, every byte
/// 0xFF (NaN, -1) when the block starts.
void* dynamic_shared();

// ---- what the shim's intrinsics call

enum class Barrier { kPlain, kCount, kAnd, kOr };
enum class Collective {
  kSync,
  kShuffle,
  kShuffleUp,
  kShuffleDown,
  kShuffleXor,
  kBallot,
  kAny,
  kAll,
  kMatchAny,
  kAdd,
  kMin,
  kMax,
  kAddSigned,
  kMinSigned,
  kMaxSigned,
  kAnd,
  kOr,
  kXor
};

/// __syncthreads and its kin.
int block_barrier(Barrier kind, int predicate, const std::source_location& at);

/// An intrinsic that the lanes in `mask` do together. `operand` is a shuffle's lane, delta or lane mask.
uint64_t warp_collective(Collective kind, unsigned mask, uint64_t value, int operand, int width,
                         const std::source_location& at);

/// A place where another thread may get its turn first, under kRandom.
void preemption_point();

/// Lets every other thread that can run do so.
void yield();

int lane_index();

}  // namespace smpo::kernels::cuda_on_cpu

#endif  // SMPO_TEST_SUPPORT_CUDA_ON_CPU_EMULATOR_H_

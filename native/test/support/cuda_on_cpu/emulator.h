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

/// An error in a kernel that on a GPU would cause a hang, a wrong result or nothing visible: a barrier that not all
/// threads reach, a shuffle whose mask names a lane that does not take part. The message names the kernel, block,
/// threads and lines.
class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The order in which blocks run, and the threads of a block between two synchronization points. A kernel that lacks a
/// barrier is right in some orders at most.
enum class Order { kForward, kReverse, kRandom };

struct Schedule {
  Order order = Order::kForward;
  uint64_t seed = 0;  // seed of kRandom, which also preempts threads at atomics
};

/// The schedules of a kernel's test: forward, reverse and four random ones.
std::vector<Schedule> all_schedules();
std::string name_of(const Schedule& schedule);

/// Sets the schedule of every launch in this scope. Outside of such a scope it is forward.
class WithSchedule {
 public:
  explicit WithSchedule(const Schedule& schedule);
  ~WithSchedule();
  WithSchedule(const WithSchedule&) = delete;
  WithSchedule& operator=(const WithSchedule&) = delete;

 private:
  Schedule previous_;
};

/// Executes `thread` once for every thread of the grid. Throws kernels::cuda::Error if a GPU would refuse the
/// launch (with the limits of sm_80, the smallest architecture that we build for), Fault for an error in the kernel.
/// Launches of several host threads wait for each other. `kernel` is used in messages only.
void run(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread);

/// The running block's dynamic shared memory: the bytes that its launch requested, between red zones. Every byte is
/// 0xFF (NaN, -1) when the block starts.
void* dynamic_shared();

// ---- called by the shim's intrinsics

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

/// __syncthreads and its variants.
int block_barrier(Barrier kind, int predicate, const std::source_location& at);

/// An intrinsic that the lanes in `mask` execute together. `operand` is a shuffle's lane, delta or lane mask.
uint64_t warp_collective(Collective kind, unsigned mask, uint64_t value, int operand, int width,
                         const std::source_location& at);

/// A point at which kRandom may run another thread first.
void preemption_point();

/// Lets every other runnable thread run.
void yield();

int lane_index();

}  // namespace smpo::kernels::cuda_on_cpu

#endif  // SMPO_TEST_SUPPORT_CUDA_ON_CPU_EMULATOR_H_

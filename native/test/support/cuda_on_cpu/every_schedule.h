// Runs a test's kernels in every order of threads and blocks that the emulator has; on a GPU, once.
#ifndef SMPO_TEST_SUPPORT_CUDA_ON_CPU_EVERY_SCHEDULE_H_
#define SMPO_TEST_SUPPORT_CUDA_ON_CPU_EVERY_SCHEDULE_H_

#include <gtest/gtest.h>

#if defined(SMPO_CUDA_ON_CPU)
#include "cuda_on_cpu/emulator.h"
#else
#include <cuda_runtime.h>

#include <cstdlib>
#endif

namespace smpo::test {

/// Calls `body` once per schedule, each named in a failure's trace. `body` fills its own buffers, because no
/// schedule may reuse results of another.
template <class Body>
void for_every_schedule(const Body& body) {
#if defined(SMPO_CUDA_ON_CPU)
  for (const kernels::cuda_on_cpu::Schedule& schedule : kernels::cuda_on_cpu::all_schedules()) {
    SCOPED_TRACE("schedule " + kernels::cuda_on_cpu::name_of(schedule));
    const kernels::cuda_on_cpu::WithSchedule with(schedule);
    body();
  }
#else
  body();
#endif
}

/// Whether kernels can run: always in the emulator, otherwise with a GPU. A test begins with SMPO_NEEDS_DEVICE().
inline bool has_device() {
#if defined(SMPO_CUDA_ON_CPU)
  return true;
#else
  int count = 0;
  const bool found = cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
  if (!found) {
    static_cast<void>(cudaGetLastError());
  }
  return found || std::getenv("SMPO_REQUIRE_CUDA") != nullptr;  // required: the test runs and fails
#endif
}

}  // namespace smpo::test

#define SMPO_NEEDS_DEVICE()                                                  \
  do {                                                                       \
    if (!::smpo::test::has_device()) GTEST_SKIP() << "no CUDA device found"; \
  } while (false)

#endif  // SMPO_TEST_SUPPORT_CUDA_ON_CPU_EVERY_SCHEDULE_H_

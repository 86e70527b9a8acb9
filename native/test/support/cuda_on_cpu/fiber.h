// A fiber: a function with its own stack that can be suspended and resumed.
#ifndef SMPO_TEST_SUPPORT_CUDA_ON_CPU_FIBER_H_
#define SMPO_TEST_SUPPORT_CUDA_ON_CPU_FIBER_H_

#include <cstddef>

// Where there is no handwritten switch (or with SMPO_FIBER_UCONTEXT=1), the C library's is used. It is equivalent but
// makes a system call for the signal mask at each switch.
#if !defined(SMPO_FIBER_UCONTEXT) && !defined(__x86_64__)
#define SMPO_FIBER_UCONTEXT 1
#endif
#if defined(SMPO_FIBER_UCONTEXT)
#include <ucontext.h>
#endif

namespace smpo::kernels::cuda_on_cpu {

/// One stack, on which functions are run one after another. A body runs on one OS thread from start to end.
/// AddressSanitizer is told of every switch. A page below the stack is unmapped, so that an overflow faults.
class Fiber {
 public:
  static constexpr size_t kStackBytes = 64 * 1024;

  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Sets `body(argument)` as the function that the next resume() starts. An unfinished body is dropped without running
  /// destructors.
  void start(void (*body)(void*), void* argument);

  /// Called from outside: runs the body until it suspends (true) or returns (false).
  bool resume();

  /// Called from the body: returns to the caller of resume() until the next resume().
  void suspend();

 private:
  static void enter(Fiber* fiber);
  void leave(bool for_good);

  unsigned char* mapping_ = nullptr;
  unsigned char* stack_ = nullptr;
  void (*body_)(void*) = nullptr;
  void* argument_ = nullptr;
  bool running_ = false;  // the body was started and has not returned

#if !defined(SMPO_FIBER_UCONTEXT)
  void* own_ = nullptr;  // stack pointers of the side that is not running
  void* caller_ = nullptr;
#else
  ucontext_t own_{};
  ucontext_t caller_{};
#endif
  // AddressSanitizer's data about the other stack.
  void* own_fake_stack_ = nullptr;
  void* caller_fake_stack_ = nullptr;
  const void* caller_stack_ = nullptr;
  size_t caller_stack_bytes_ = 0;
};

}  // namespace smpo::kernels::cuda_on_cpu

#endif  // SMPO_TEST_SUPPORT_CUDA_ON_CPU_FIBER_H_

#include "cuda_on_cpu/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <system_error>
#if defined(SMPO_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined(SMPO_FIBER_UCONTEXT)
// void smpo_fiber_switch(void** save, void* load): saves the registers that a System V ABI call preserves on the
// current stack and restores them from the other. The floating-point control words are not saved, because kernels do
// not change them.
extern "C" void smpo_fiber_switch(void** save, void* load);
asm(R"(
.text
.type smpo_fiber_switch, @function
smpo_fiber_switch:
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
.size smpo_fiber_switch, .-smpo_fiber_switch

# First resume of a stack: the fiber is in %r12, its entry in %r13. The zero that start() left on top is the return
# address, which ends a stack trace here and gives the stack the alignment of a call.
.type smpo_fiber_first, @function
smpo_fiber_first:
  .cfi_startproc
  .cfi_undefined rip
  movq %r12, %rdi
  xorl %ebp, %ebp
  jmp *%r13
  .cfi_endproc
.size smpo_fiber_first, .-smpo_fiber_first
)");
extern "C" void smpo_fiber_first();
#endif

namespace smpo::kernels::cuda_on_cpu {
namespace {

size_t page_bytes() {
  static const size_t bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

}  // namespace

Fiber::Fiber() {
  void* mapping = mmap(nullptr, kStackBytes + page_bytes(), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) {
    throw std::system_error(errno, std::generic_category(), "mmap of a fiber's stack");
  }
  mapping_ = static_cast<unsigned char*>(mapping);
  stack_ = mapping_ + page_bytes();
  if (mprotect(mapping_, page_bytes(), PROT_NONE) != 0) {
    const int code = errno;
    munmap(mapping_, kStackBytes + page_bytes());
    throw std::system_error(code, std::generic_category(), "mprotect of a fiber's guard page");
  }
}

Fiber::~Fiber() {
#if defined(SMPO_ASAN)
  __asan_unpoison_memory_region(stack_, kStackBytes);
#endif
  munmap(mapping_, kStackBytes + page_bytes());
}

void Fiber::start(void (*body)(void*), void* argument) {
#if defined(SMPO_ASAN)
  if (running_) {
    __asan_unpoison_memory_region(stack_, kStackBytes);  // red zones of the frames that are dropped
  }
#endif
  body_ = body;
  argument_ = argument;
  running_ = true;
  own_fake_stack_ = nullptr;
#if !defined(SMPO_FIBER_UCONTEXT)
  // The stack looks as if smpo_fiber_first had called smpo_fiber_switch: six registers and the return address.
  uint64_t* top = reinterpret_cast<uint64_t*>(stack_ + kStackBytes);
  *--top = 0;
  *--top = reinterpret_cast<uint64_t>(&smpo_fiber_first);
  *--top = 0;                                          // rbp
  *--top = 0;                                          // rbx
  *--top = reinterpret_cast<uint64_t>(this);           // r12
  *--top = reinterpret_cast<uint64_t>(&Fiber::enter);  // r13
  *--top = 0;                                          // r14
  *--top = 0;                                          // r15
  own_ = top;
#else
  getcontext(&own_);
  own_.uc_stack.ss_sp = stack_;
  own_.uc_stack.ss_size = kStackBytes;
  own_.uc_link = nullptr;
  // makecontext passes ints, so the pointer is split in two halves.
  const uint64_t self = reinterpret_cast<uint64_t>(this);
  void (*entry)(unsigned, unsigned) = [](unsigned high, unsigned low) {
    enter(reinterpret_cast<Fiber*>(static_cast<uintptr_t>(static_cast<uint64_t>(high) << 32 | low)));
  };
  makecontext(&own_, reinterpret_cast<void (*)()>(entry), 2, static_cast<unsigned>(self >> 32),
              static_cast<unsigned>(self));
#endif
}

bool Fiber::resume() {
#if defined(SMPO_ASAN)
  __sanitizer_start_switch_fiber(&caller_fake_stack_, stack_, kStackBytes);
#endif
#if !defined(SMPO_FIBER_UCONTEXT)
  smpo_fiber_switch(&caller_, own_);
#else
  swapcontext(&caller_, &own_);
#endif
#if defined(SMPO_ASAN)
  __sanitizer_finish_switch_fiber(caller_fake_stack_, nullptr, nullptr);
#endif
  return running_;
}

void Fiber::suspend() { leave(false); }

void Fiber::leave([[maybe_unused]] bool for_good) {
#if defined(SMPO_ASAN)
  __sanitizer_start_switch_fiber(for_good ? nullptr : &own_fake_stack_, caller_stack_, caller_stack_bytes_);
#endif
#if !defined(SMPO_FIBER_UCONTEXT)
  smpo_fiber_switch(&own_, caller_);
#else
  swapcontext(&own_, &caller_);
#endif
#if defined(SMPO_ASAN)
  __sanitizer_finish_switch_fiber(own_fake_stack_, &caller_stack_, &caller_stack_bytes_);
#endif
}

void Fiber::enter(Fiber* fiber) {
#if defined(SMPO_ASAN)
  __sanitizer_finish_switch_fiber(nullptr, &fiber->caller_stack_, &fiber->caller_stack_bytes_);
#endif
  fiber->body_(fiber->argument_);
  fiber->running_ = false;
  fiber->leave(true);
  std::abort();  // a fiber that is done is not resumed before the next start()
}

}  // namespace smpo::kernels::cuda_on_cpu

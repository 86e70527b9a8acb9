// One inner loop, compiled for several instruction sets, the best one picked at run time.
//
// A kernel's inner loop is a struct with a static, always-inlined `run`; `run_for<Body>(set, args...)` calls the copy
// of it that was compiled for `set`:
//
//   struct AddChunk {
//     SMPO_INNER_LOOP void run(float* out, const float* a, const float* b, int64_t count) {
//       for (int64_t i = 0; i < count; ++i) out[i] = a[i] + b[i];
//     }
//   };
//   void add(const AddArgs& args, InstructionSet set) {
//   #pragma omp parallel for schedule(static)
//     for (int64_t chunk = 0; chunk < chunks; ++chunk) run_for<AddChunk>(set, out + ..., a + ..., b + ..., count);
//   }
//
// Why not target_clones: it does not reach into the function that OpenMP makes of a parallel region, its resolvers run
// before AddressSanitizer does, and a test could reach only the copy that suits the machine. Here every copy can be
// named, so tests hold all of them that the machine can run to the same bits.
//
// Everything `run` calls must be always inlined too (SMPO_HOST_DEVICE or SMPO_INNER_LOOP); a call to a function that is
// not runs its baseline code. Sums that must not depend on the instruction set keep a fixed number of lanes and join
// them in a fixed order.
#ifndef SMPO_KERNELS_CPU_DISPATCH_H_
#define SMPO_KERNELS_CPU_DISPATCH_H_

#include <cstdint>

#define SMPO_INNER_LOOP static inline __attribute__((always_inline))

namespace smpo::kernels::cpu {

/// Instruction sets of an inner loop, worst first: the compiler's baseline (SSE2 on x86-64), AVX2 (without FMA: one
/// rounding per operation), and AVX-512 F + BW + DQ + VL.
enum class InstructionSet : int32_t { kBaseline = 0, kAvx2 = 1, kAvx512 = 2 };

/// The best that this machine and its operating system allow.
InstructionSet best_instruction_set();

constexpr const char* name_of(InstructionSet set) {
  switch (set) {
    case InstructionSet::kAvx512:
      return "avx512";
    case InstructionSet::kAvx2:
      return "avx2";
    case InstructionSet::kBaseline:
      break;
  }
  return "baseline";
}

namespace internal {

template <class Body, class... Args>
__attribute__((noinline)) void run_baseline(Args... args) {
  Body::run(args...);
}

#if defined(__x86_64__)
template <class Body, class... Args>
__attribute__((noinline, target("avx2"))) void run_avx2(Args... args) {
  Body::run(args...);
}

template <class Body, class... Args>
__attribute__((noinline, target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512"))) void run_avx512(
    Args... args) {
  Body::run(args...);
}
#endif

}  // namespace internal

/// Runs Body::run(args...) compiled for `set`, which must not be better than best_instruction_set().
template <class Body, class... Args>
void run_for(InstructionSet set, Args... args) {
#if defined(__x86_64__)
  switch (set) {
    case InstructionSet::kAvx512:
      return internal::run_avx512<Body>(args...);
    case InstructionSet::kAvx2:
      return internal::run_avx2<Body>(args...);
    case InstructionSet::kBaseline:
      break;
  }
#else
  static_cast<void>(set);
#endif
  internal::run_baseline<Body>(args...);
}

/// ceil(a / b) for a >= 0, b > 0: the number of chunks that cover a range.
constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace smpo::kernels::cpu

#endif  // SMPO_KERNELS_CPU_DISPATCH_H_

#include "kernels/adamw.h"

#include <algorithm>
#include <type_traits>

namespace smpo::kernels::cpu {
namespace {

constexpr int64_t kChunk = 16384;

/// Destination of an element's copy; its type is the copy's.
struct NoCopy {
  SMPO_HOST_DEVICE void store(int64_t, float) const {}
};

template <class T>
struct CopyTo {
  T* __restrict out;
  SMPO_HOST_DEVICE void store(int64_t i, float value) const { out[i] = from_float<T>(value); }
};

template <class Copy>
struct UpdateChunk {
  SMPO_INNER_LOOP void run(AdamWCoefficients c, float scale, float* __restrict parameter,
                           const float* __restrict gradient, float* __restrict m_N, float* __restrict v_N, Copy copy,
                           int64_t count) {
#pragma GCC ivdep
    for (int64_t i = 0; i < count; ++i) {
      float m = m_N[i];
      float v = v_N[i];
      const float p = adamw_element(c, scale, parameter[i], gradient[i], m, v);
      m_N[i] = m;
      v_N[i] = v;
      parameter[i] = p;
      copy.store(i, p);
    }
  }
};

template <class CopyAt>
void update(const AdamWArgs& args, InstructionSet set, CopyAt copy_at) {
  const AdamWCoefficients c = adamw_coefficients(args);
  const float scale = args.grad_scale != nullptr ? *args.grad_scale : 1.0f;
  const int64_t chunks = divide_up(args.elements, kChunk);
#pragma omp parallel for schedule(static) if (chunks > 1)
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t begin = chunk * kChunk;
    const auto copy = copy_at(begin);
    run_for<UpdateChunk<std::remove_const_t<decltype(copy)>>>(set, c, scale, args.parameter + begin,
                                                              args.gradient + begin, args.m + begin, args.v + begin,
                                                              copy, std::min(kChunk, args.elements - begin));
  }
}

}  // namespace

void adamw(const AdamWArgs& args, InstructionSet set) {
  if (args.finite != nullptr && *args.finite == 0) {
    return;
  }
  if (args.compute == nullptr) {
    update(args, set, [](int64_t) { return NoCopy{}; });
  } else if (args.compute_dtype == DType::kBF16) {
    update(args, set, [&](int64_t begin) { return CopyTo<BFloat16>{static_cast<BFloat16*>(args.compute) + begin}; });
  } else {
    update(args, set, [&](int64_t begin) { return CopyTo<float>{static_cast<float*>(args.compute) + begin}; });
  }
}

}  // namespace smpo::kernels::cpu

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "harness.h"
#include "kernels/adamw.h"

namespace smpo::bench {
namespace {

using kernels::AdamWArgs;
using kernels::BFloat16;
using kernels::DType;
using kernels::cpu::InstructionSet;

/// f32 state and, optionally, the bf16 copy.
struct Buffers {
  Buffers(int64_t elements, bool with_copy)
      : parameter(uniform_floats(elements, 1)),
        gradient(uniform_floats(elements, 2)),
        m(static_cast<size_t>(elements)),
        v(static_cast<size_t>(elements)),
        copy(with_copy ? static_cast<size_t>(elements) : 0) {}

  AdamWArgs args() {
    return {.elements = static_cast<int64_t>(parameter.size()),
            .parameter = parameter.data(),
            .gradient = gradient.data(),
            .m = m.data(),
            .v = v.data(),
            .compute = copy.empty() ? nullptr : copy.data(),
            .compute_dtype = DType::kBF16,
            .lr = 1e-6,
            .weight_decay = 0.01,
            .bias_correction1 = 1 - std::pow(0.9, 10),
            .bias_correction2 = 1 - std::pow(0.999, 10)};
  }

  std::vector<float> parameter, gradient, m, v;
  std::vector<BFloat16> copy;
};

std::optional<std::string> disagreement() {
  constexpr int64_t kElements = 200003;
  Buffers wanted(kElements, true);
  kernels::reference::adamw(wanted.args());
  for (int32_t set = 0; set <= static_cast<int32_t>(kernels::cpu::best_instruction_set()); ++set) {
    Buffers got(kElements, true);
    kernels::cpu::adamw(got.args(), static_cast<InstructionSet>(set));
    const std::string name = name_of(static_cast<InstructionSet>(set));
    // adamw.h's bounds, with |g| and |p| below 1, m from zero and updates below 2 lr.
    if (auto problem = first_difference(got.m.data(), wanted.m.data(), kElements, 6 * 0x1p-24, 0)) {
      return name + ": m" + *problem;
    }
    if (auto problem = first_difference(got.v.data(), wanted.v.data(), kElements, 6 * 0x1p-24, 1e-40)) {
      return name + ": v" + *problem;
    }
    if (auto problem =
            first_difference(got.parameter.data(), wanted.parameter.data(), kElements, 4 * 0x1p-24, 40e-6 * 0x1p-24)) {
      return name + ": parameter" + *problem;
    }
    for (int64_t i = 0; i < kElements; ++i) {
      const auto at = static_cast<size_t>(i);
      if (got.copy[at].bits != kernels::to_bfloat16(got.parameter[at]).bits) {
        return name + ": the bf16 copy differs at " + std::to_string(i);
      }
    }
  }
  return std::nullopt;
}

}  // namespace

SMPO_BENCH(adamw) {
  struct Size {
    const char* name;
    int64_t elements;
    bool with_copy;
    bool guarded;
  };
  for (const Size& size : {Size{"1M", 1000000, true, false}, Size{"10M", 10000000, true, true},
                           Size{"100M", 100000000, true, false}, Size{"100M", 100000000, false, false}}) {
    if (session.guard() && !size.guarded) continue;
    Buffers buffers(size.elements, size.with_copy);
    // p, m, v read and written, g read: 28 bytes; the copy written: 2 more.
    Case c{.family = "adamw",
           .size = size.name,
           .dtype = size.with_copy ? "f32+bf16" : "f32",
           .bytes = (size.with_copy ? 30.0 : 28.0) * static_cast<double>(size.elements),
           .items = static_cast<double>(size.elements),
           .bound = Bound::kMemory,
           .disagreement = disagreement,
           .contenders = {{"cpu", [&] { kernels::cpu::adamw(buffers.args()); }}},
           .guarded = size.guarded ? "cpu" : ""};
    if (size.elements <= 1000000) {
      c.contenders.push_back({"reference", [&] { kernels::reference::adamw(buffers.args()); }});
    }
    session.measure(c);
  }
}

}  // namespace smpo::bench

#include <cmath>
#include <cstdio>
#include <vector>

#include "harness.h"
#include "kernels/grad_norm.h"

namespace smpo::bench {
namespace {

using kernels::GradNormArgs;
using kernels::GradNormResult;
using kernels::cpu::InstructionSet;

struct Buffers {
  explicit Buffers(int64_t elements)
      : gradient(uniform_floats(elements, 3)),
        workspace(static_cast<size_t>(kernels::square_sum::chunks_of(elements))) {}

  GradNormArgs args() {
    return {.gradient = gradient.data(),
            .elements = static_cast<int64_t>(gradient.size()),
            .max_norm = 1,
            .result = &result,
            .workspace = workspace.data()};
  }

  std::vector<float> gradient;
  std::vector<double> workspace;
  GradNormResult result{};
};

std::optional<std::string> disagreement() {
  Buffers buffers(1000003);
  kernels::reference::grad_norm(buffers.args());
  const GradNormResult wanted = buffers.result;
  for (int32_t set = 0; set <= static_cast<int32_t>(kernels::cpu::best_instruction_set()); ++set) {
    kernels::cpu::grad_norm(buffers.args(), static_cast<InstructionSet>(set));
    if (std::abs(buffers.result.norm - wanted.norm) > kernels::grad_norm_tolerance(1000003) * wanted.norm) {
      char text[128];
      std::snprintf(text, sizeof(text), "%s: norm %.17g against %.17g", name_of(static_cast<InstructionSet>(set)),
                    buffers.result.norm, wanted.norm);
      return text;
    }
  }
  return std::nullopt;
}

}  // namespace

SMPO_BENCH(grad_norm) {
  struct Size {
    const char* name;
    int64_t elements;
  };
  for (const Size& size : {Size{"1M", 1000000}, Size{"100M", 100000000}}) {
    if (session.guard() && size.elements > 1000000) continue;
    Buffers buffers(size.elements);
    session.measure({.family = "grad_norm",
                     .size = size.name,
                     .dtype = "f32",
                     .bytes = 4.0 * static_cast<double>(size.elements),
                     .items = static_cast<double>(size.elements),
                     .bound = Bound::kMemory,
                     .disagreement = disagreement,
                     .contenders = {{"cpu", [&] { kernels::cpu::grad_norm(buffers.args()); }},
                                    {"reference", [&] { kernels::reference::grad_norm(buffers.args()); }}},
                     .guarded = "cpu"});
  }
}

}  // namespace smpo::bench

#include <string>
#include <vector>

#include "harness.h"
#include "kernels/ema_update.h"

namespace smpo::bench {
namespace {

using kernels::cpu::InstructionSet;

struct Buffers {
  explicit Buffers(int64_t elements) : average(uniform_floats(elements, 1)), parameter(uniform_floats(elements, 2)) {}

  kernels::EmaUpdateArgs args() {
    return {.elements = static_cast<int64_t>(average.size()),
            .average = average.data(),
            .parameter = parameter.data(),
            .decay = 0.9999};
  }

  std::vector<float> average, parameter;
};

std::optional<std::string> disagreement() {
  constexpr int64_t kElements = 200003;
  Buffers wanted(kElements);
  kernels::reference::ema_update(wanted.args());
  for (int32_t set = 0; set <= static_cast<int32_t>(kernels::cpu::best_instruction_set()); ++set) {
    Buffers got(kElements);
    kernels::cpu::ema_update(got.args(), static_cast<InstructionSet>(set));
    // The bound of ema_update.h and one rounding of the reference, with numbers below 1.
    if (auto problem =
            first_difference(got.average.data(), wanted.average.data(), kElements, 2 * 0x1p-24, 6e-4 * 0x1p-24)) {
      return std::string(name_of(static_cast<InstructionSet>(set))) + *problem;
    }
  }
  return std::nullopt;
}

}  // namespace

SMPO_BENCH(ema_update) {
  if (session.guard()) return;
  for (const auto& [name, elements] : {std::pair{"10M", int64_t{10000000}}, {"100M", int64_t{100000000}}}) {
    Buffers buffers(elements);
    // The average read and written, the parameter read.
    session.measure({.family = "ema_update",
                     .size = name,
                     .dtype = "f32",
                     .bytes = 12.0 * static_cast<double>(elements),
                     .items = static_cast<double>(elements),
                     .bound = Bound::kMemory,
                     .disagreement = disagreement,
                     .contenders = {{"cpu", [&] { kernels::cpu::ema_update(buffers.args()); }}},
                     .guarded = ""});
  }
}

}  // namespace smpo::bench

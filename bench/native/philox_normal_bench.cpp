#include <cstring>
#include <string>
#include <vector>

#include "harness.h"
#include "kernels/philox_normal.h"

namespace smpo::bench {
namespace {

using kernels::PhiloxNormalArgs;
using kernels::cpu::InstructionSet;

PhiloxNormalArgs args_of(std::vector<float>& out, const std::vector<int64_t>& items) {
  const auto rows = static_cast<int64_t>(items.size());
  return {.out = out.data(),
          .rows = rows,
          .elements = static_cast<int64_t>(out.size()) / rows,
          .seed = 7,
          .purpose = 1,
          .step = 100,
          .items = items.data()};
}

}  // namespace

SMPO_BENCH(philox_normal) {
  struct Size {
    const char* name;
    int64_t rows;
    int64_t elements;
    bool guarded;
  };
  // One pair of 64 x 64 latents, a global batch of them, and one large row.
  for (const Size& size : {Size{"2x16384", 2, 16384, true}, Size{"128x16384", 128, 16384, false},
                           Size{"1x16M", 1, int64_t{1} << 24, false}}) {
    std::vector<int64_t> items(static_cast<size_t>(size.rows));
    for (size_t r = 0; r < items.size(); ++r) items[r] = static_cast<int64_t>(1000 + r);
    std::vector<float> out(static_cast<size_t>(size.rows * size.elements));
    std::vector<float> small(static_cast<size_t>(2 * size.rows * 1023));
    Case c{.family = "philox_normal",
           .size = size.name,
           .dtype = "f32",
           .bytes = 4.0 * static_cast<double>(out.size()),
           .items = static_cast<double>(out.size()),
           .bound = Bound::kCompute,
           .disagreement = [&]() -> std::optional<std::string> {
             std::vector<float> wanted(small.size());
             kernels::reference::philox_normal(args_of(wanted, items));
             for (int32_t set = 0; set <= static_cast<int32_t>(kernels::cpu::best_instruction_set()); ++set) {
               kernels::cpu::philox_normal(args_of(small, items), static_cast<InstructionSet>(set));
               const auto problem = first_difference(small.data(), wanted.data(), static_cast<int64_t>(small.size()),
                                                     kernels::kNormalTolerance + 0x1p-24, 0);
               if (problem) return std::string(name_of(static_cast<InstructionSet>(set))) + problem.value();
             }
             return std::nullopt;
           },
           .contenders = {{"cpu", [&] { kernels::cpu::philox_normal(args_of(out, items)); }}},
           .guarded = size.guarded ? "cpu" : ""};
    if (size.rows == 2) {
      c.contenders.push_back(
          {"cpu/baseline", [&] { kernels::cpu::philox_normal(args_of(out, items), InstructionSet::kBaseline); }});
      c.contenders.push_back({"reference", [&] { kernels::reference::philox_normal(args_of(out, items)); }});
    }
    session.measure(c);
  }
}

}  // namespace smpo::bench

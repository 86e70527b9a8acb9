#include <cmath>
#include <string>
#include <vector>

#include "harness.h"
#include "kernels/row_mean_squared_error.h"

namespace smpo::bench {
namespace {

using kernels::RowMeanSquaredErrorArgs;
using kernels::cpu::InstructionSet;

std::optional<std::string> disagreement(const RowMeanSquaredErrorArgs& args) {
  kernels::reference::row_mean_squared_error(args);
  const std::vector<double> wanted(args.error_R, args.error_R + args.rows);
  for (int32_t set = 0; set <= static_cast<int32_t>(kernels::cpu::best_instruction_set()); ++set) {
    kernels::cpu::row_mean_squared_error(args, static_cast<InstructionSet>(set));
    for (size_t r = 0; r < wanted.size(); ++r) {
      if (std::abs(args.error_R[r] - wanted[r]) > kernels::kRowErrorTolerance * wanted[r]) {
        return std::string(name_of(static_cast<InstructionSet>(set))) + ": row " + std::to_string(r);
      }
    }
  }
  return std::nullopt;
}

}  // namespace

SMPO_BENCH(row_mean_squared_error) {
  struct Size {
    const char* name;
    int64_t rows;
    int64_t elements;
  };
  for (const Size& size : {Size{"2x65536", 2, 65536}, Size{"256x65536", 256, 65536}}) {
    const std::vector<float> prediction = uniform_floats(size.rows * size.elements, 1);
    const std::vector<float> target = uniform_floats(size.rows * size.elements, 2);
    std::vector<double> errors(static_cast<size_t>(size.rows));
    RowMeanSquaredErrorArgs args{.rows = size.rows,
                                 .elements = size.elements,
                                 .prediction_RN = prediction.data(),
                                 .target_RN = target.data(),
                                 .error_R = errors.data()};
    std::vector<double> workspace(static_cast<size_t>(row_mean_squared_error_workspace_bytes(args)) / sizeof(double));
    args.workspace = workspace.data();
    Case c{.family = "row_mean_squared_error",
           .size = size.name,
           .dtype = "f32",
           .bytes = 8.0 * static_cast<double>(prediction.size()),
           .items = static_cast<double>(prediction.size()),
           .bound = Bound::kMemory,
           .disagreement = [&] { return disagreement(args); },
           .contenders = {{"cpu", [&] { kernels::cpu::row_mean_squared_error(args); }}},
           .guarded = ""};
    if (size.rows == 2) {
      c.contenders.push_back(
          {"cpu/baseline", [&] { kernels::cpu::row_mean_squared_error(args, InstructionSet::kBaseline); }});
      c.contenders.push_back({"reference", [&] { kernels::reference::row_mean_squared_error(args); }});
    }
    session.measure(c);
  }
}

}  // namespace smpo::bench

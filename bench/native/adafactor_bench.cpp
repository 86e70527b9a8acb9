#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "harness.h"
#include "kernels/adafactor.h"

namespace smpo::bench {
namespace {

using kernels::AdafactorArgs;
using kernels::AdafactorShape;
using kernels::BFloat16;
using kernels::DType;
using kernels::cpu::InstructionSet;

/// f32 state without a first moment, Adafactor's usual setting, and the bf16 copy.
struct Buffers {
  explicit Buffers(const AdafactorShape& of)
      : shape(of),
        parameter(uniform_floats(of.elements(), 1)),
        gradient(uniform_floats(of.elements(), 2)),
        row(static_cast<size_t>(of.row_elements())),
        column(static_cast<size_t>(of.column_elements())),
        v(of.factored ? 0 : static_cast<size_t>(of.elements())),
        copy(static_cast<size_t>(of.elements())),
        workspace(static_cast<size_t>(kernels::adafactor_workspace_bytes(of) / 8 + 1)) {}

  AdafactorArgs args() {
    return {.shape = shape,
            .parameter = parameter.data(),
            .gradient = gradient.data(),
            .row = row.data(),
            .column = column.data(),
            .v = v.data(),
            .compute = copy.data(),
            .compute_dtype = DType::kBF16,
            .lr = 1e-6,
            .beta2 = 1 - std::pow(10, -0.8),
            .scale_parameter = true,
            .workspace = workspace.data()};
  }

  AdafactorShape shape;
  std::vector<float> parameter, gradient, row, column, v;
  std::vector<BFloat16> copy;
  std::vector<double> workspace;
};

std::optional<std::string> disagreement() {
  for (const AdafactorShape& shape : {AdafactorShape{.rows = 201, .columns = 305},
                                      {.outer = 31, .rows = 3, .columns = 3, .inner = 97},
                                      {.columns = 20003, .factored = false}}) {
    Buffers wanted(shape);
    kernels::reference::adafactor(wanted.args());
    for (int32_t set = 0; set <= static_cast<int32_t>(kernels::cpu::best_instruction_set()); ++set) {
      Buffers got(shape);
      kernels::cpu::adafactor(got.args(), static_cast<InstructionSet>(set));
      const std::string name = name_of(static_cast<InstructionSet>(set));
      // adafactor.h's bounds, with |p| below 1 and updates below 100 lr.
      if (auto problem = first_difference(got.row.data(), wanted.row.data(), shape.row_elements(), 5 * 0x1p-24, 0)) {
        return name + ": row" + *problem;
      }
      if (auto problem =
              first_difference(got.column.data(), wanted.column.data(), shape.column_elements(), 5 * 0x1p-24, 0)) {
        return name + ": column" + *problem;
      }
      if (auto problem = first_difference(got.parameter.data(), wanted.parameter.data(), shape.elements(), 4 * 0x1p-24,
                                          2600e-6 * 0x1p-24)) {
        return name + ": parameter" + *problem;
      }
    }
  }
  return std::nullopt;
}

}  // namespace

SMPO_BENCH(adafactor) {
  if (session.guard()) return;
  struct Size {
    const char* name;
    AdafactorShape shape;
  };
  // The largest of Stable Diffusion: a feed-forward layer, a filter, a pointwise filter.
  for (const Size& size : {Size{"linear 10240x1280", {.rows = 10240, .columns = 1280}},
                           Size{"filter 1280x1280x3x3", {.outer = 1280, .rows = 3, .columns = 3, .inner = 1280}},
                           Size{"filter 1280x1280x1x1", {.outer = 1280, .inner = 1280}}}) {
    Buffers buffers(size.shape);
    const auto elements = static_cast<double>(size.shape.elements());
    // p read twice and written, g read three times, rows and columns read and written and their factors read twice.
    const auto means = static_cast<double>(size.shape.row_elements() + size.shape.column_elements());
    session.measure({.family = "adafactor",
                     .size = size.name,
                     .dtype = "f32+bf16",
                     .bytes = 26.0 * elements + 20.0 * means,
                     .items = elements,
                     .bound = Bound::kMemory,
                     .disagreement = disagreement,
                     .contenders = {{"cpu", [&] { kernels::cpu::adafactor(buffers.args()); }}},
                     .guarded = ""});
  }
}

}  // namespace smpo::bench

#include <cmath>
#include <string>
#include <vector>

#include "harness.h"
#include "kernels/preference_loss.h"

namespace smpo::bench {
namespace {

using kernels::BFloat16;
using kernels::DType;
using kernels::PreferenceLossArgs;
using kernels::cpu::InstructionSet;

/// Policy, reference and target close to each other, as in training.
struct Data {
  Data(int64_t pairs, int64_t elements, DType dtype) : count(2 * pairs * elements) {
    const std::vector<float> noise = uniform_floats(count, 1);
    const std::vector<float> error = uniform_floats(count, 2);
    const std::vector<float> drift = uniform_floats(count, 3);
    for (std::vector<unsigned char>* tensor : {&prediction, &reference, &target, &d_prediction}) {
      tensor->resize(static_cast<size_t>(count * size_of(dtype)));
    }
    for (int64_t i = 0; i < count; ++i) {
      const auto at = static_cast<size_t>(i);
      set(target, dtype, i, noise[at]);
      set(reference, dtype, i, noise[at] + 0.5f * error[at]);
      set(prediction, dtype, i, noise[at] + 0.5f * error[at] + 0.05f * drift[at]);
    }
    scalars.resize(static_cast<size_t>(10 * pairs));
    double* next = scalars.data();
    const auto take = [&](int64_t size) { return (next += size) - size; };
    args.pairs = pairs;
    args.elements = elements;
    args.loss.kind = SMPO_PAIR_LOSS_DPO;
    args.loss.strength = 1000;
    args.prediction_RN = prediction.data();
    args.prediction_dtype = dtype;
    args.reference_RN = reference.data();
    args.reference_dtype = dtype;
    args.target_RN = target.data();
    args.target_dtype = dtype;
    args.error_4P = take(4 * pairs);
    args.logit_P = take(pairs);
    args.loss_P = take(pairs);
    args.d_error_R = take(2 * pairs);
    args.loss_sum = take(1);
    args.d_prediction_RN = d_prediction.data();
    workspace.resize(static_cast<size_t>(preference_loss_workspace_bytes(args)) / sizeof(double));
    args.workspace = workspace.data();
  }

  static void set(std::vector<unsigned char>& tensor, DType dtype, int64_t i, float value) {
    if (dtype == DType::kF32) {
      reinterpret_cast<float*>(tensor.data())[i] = value;
    } else {
      reinterpret_cast<BFloat16*>(tensor.data())[i] = kernels::to_bfloat16(value);
    }
  }

  std::vector<float> gradient() const {
    std::vector<float> values(static_cast<size_t>(count));
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = args.prediction_dtype == DType::kF32
                      ? reinterpret_cast<const float*>(d_prediction.data())[i]
                      : kernels::to_float(reinterpret_cast<const BFloat16*>(d_prediction.data())[i]);
    }
    return values;
  }

  int64_t count;
  std::vector<unsigned char> prediction, reference, target, d_prediction;
  std::vector<double> scalars, workspace;
  PreferenceLossArgs args;
};

std::optional<std::string> disagreement(Data& data) {
  const PreferenceLossArgs& args = data.args;
  kernels::reference::preference_loss(args);
  const std::vector<double> errors(args.error_4P, args.error_4P + 4 * args.pairs);
  const std::vector<double> d_errors(args.d_error_R, args.d_error_R + 2 * args.pairs);
  const double slope = args.loss.strength;
  const std::vector<float> wanted = data.gradient();
  for (int32_t set = 0; set <= static_cast<int32_t>(kernels::cpu::best_instruction_set()); ++set) {
    const std::string name = name_of(static_cast<InstructionSet>(set));
    kernels::cpu::preference_loss(args, static_cast<InstructionSet>(set));
    double largest = 0;
    for (size_t r = 0; r < errors.size(); ++r) {
      largest = std::max(largest, errors[r]);
      if (std::abs(args.error_4P[r] - errors[r]) > kernels::kRowErrorTolerance * errors[r]) return name + ": errors";
    }
    // The slope s(-u) of the loss moves by at most a quarter of the logit, which moves by `slope` times the four
    // errors.
    const double moved = slope * largest * kernels::kRowErrorTolerance;
    double smallest = 1;
    for (const double d : d_errors) smallest = std::min(smallest, std::abs(d) / (slope * args.gradient_scale));
    const double relative =
        moved / smallest + kernels::kGradientTolerance + (args.prediction_dtype == DType::kBF16 ? 2 * 0x1p-8 : 0x1p-24);
    const std::vector<float> gradient = data.gradient();
    if (const auto problem = first_difference(gradient.data(), wanted.data(), data.count, relative, 0)) {
      return name + ": d_prediction " + *problem;
    }
  }
  return std::nullopt;
}

}  // namespace

SMPO_BENCH(preference_loss) {
  struct Size {
    const char* name;
    int64_t pairs;
    int64_t elements;
    DType dtype;
    bool guarded;
  };
  // Latents of SD 1.5 (4 x 64 x 64) and SDXL (4 x 128 x 128), a pair at a time, and a large micro-batch.
  for (const Size& size :
       {Size{"1x2x16384", 1, 16384, DType::kF32, false}, Size{"1x2x65536", 1, 65536, DType::kF32, true},
        Size{"1x2x65536", 1, 65536, DType::kBF16, false}, Size{"32x2x65536", 32, 65536, DType::kF32, false},
        Size{"32x2x65536", 32, 65536, DType::kBF16, false}}) {
    Data data(size.pairs, size.elements, size.dtype);
    const bool f32 = size.dtype == DType::kF32;
    Case c{.family = "preference_loss",
           .size = size.name,
           .dtype = f32 ? "f32" : "bf16",
           // First pass: prediction, reference, target. Second: prediction, target, gradient.
           .bytes = 6.0 * static_cast<double>(data.count * size_of(size.dtype)),
           .items = static_cast<double>(data.count),
           .bound = Bound::kMemory,
           .disagreement = [&] { return disagreement(data); },
           .contenders = {{"cpu", [&] { kernels::cpu::preference_loss(data.args); }}},
           .guarded = size.guarded ? "cpu" : ""};
    if (size.pairs == 1) {
      c.contenders.push_back(
          {"cpu/baseline", [&] { kernels::cpu::preference_loss(data.args, InstructionSet::kBaseline); }});
      c.contenders.push_back({"reference", [&] { kernels::reference::preference_loss(data.args); }});
    }
    session.measure(c);
  }
}

}  // namespace smpo::bench

// A test case of one op: shapes, its forward on a tape, and the same formula in ATen's differentiable ops.
#ifndef SMPO_TEST_TAPE_OP_CASE_H_
#define SMPO_TEST_TAPE_OP_CASE_H_

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "tape/ops.h"

namespace smpo::tape::test {

using Shape = std::vector<int64_t>;

/// Shapes of a layer's parameters; an empty shape: the parameter is absent.
struct LayerShape {
  Shape weight;
  Shape bias = {};
  Shape lora_down = {};
  Shape lora_up = {};
};

struct OpCase {
  std::string name;
  std::vector<Shape> inputs;
  std::vector<LayerShape> layers;
  /// Terms in the longest sum behind any output or gradient; sets the tolerance.
  int64_t reduction;
  std::function<std::vector<Var>(Tape&, const std::vector<Var>&, const std::vector<Layer>&)> run;
  std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>&, const std::vector<Layer>&)> oracle;

  friend void PrintTo(const OpCase& op, std::ostream* stream) { *stream << op.name; }
};

/// Random numbers that depend on the seed alone.
class Samples {
 public:
  explicit Samples(uint64_t seed) : generator_(at::detail::createCPUGenerator(seed)) {}

  at::Tensor normal(const Shape& shape, double scale = 1.0) {
    at::Tensor x = at::randn(shape, generator_, at::TensorOptions(at::kDouble)).mul_(scale);
    return shape.size() == 4 ? x.contiguous(at::MemoryFormat::ChannelsLast) : x;
  }

 private:
  at::Generator generator_;
};

/// Inputs and layers of one case, in some dtype.
struct Data {
  std::vector<at::Tensor> inputs;
  std::vector<Layer> layers;

  /// Returns f64 data, rounded to `like` so that every dtype can hold the same numbers.
  static Data make(const OpCase& op, uint64_t seed, at::ScalarType like) {
    Samples samples(seed);
    Data data;
    for (const Shape& shape : op.inputs) {
      data.inputs.push_back(samples.normal(shape).to(like).to(at::kDouble));
    }
    const auto parameter = [&](const char* name, const Shape& shape, double mean) {
      if (shape.empty()) {
        return Parameter{.name = name};
      }
      int64_t fan_in = 1;
      for (size_t i = 1; i < shape.size(); ++i) {
        fan_in *= shape[i];
      }
      at::Tensor value = samples.normal(shape, shape.size() == 1 ? 0.3 : 1.0 / std::sqrt(fan_in)).add_(mean);
      return Parameter{.name = name, .value = value.to(like).to(at::kDouble)};
    };
    for (const LayerShape& shape : op.layers) {
      Layer layer{.weight = parameter("weight", shape.weight, shape.weight.size() == 1 ? 1.0 : 0.0),
                  .bias = parameter("bias", shape.bias, 0.0)};
      if (!shape.lora_down.empty()) {
        layer.lora = Lora{
            .down = parameter("down", shape.lora_down, 0.0), .up = parameter("up", shape.lora_up, 0.0), .scale = 0.75};
      }
      data.layers.push_back(std::move(layer));
    }
    return data;
  }

  /// All parameters that are present.
  std::vector<Parameter*> parameters() {
    std::vector<Parameter*> all;
    for (Layer& layer : layers) {
      all.insert(all.end(), {&layer.weight, &layer.bias});
      if (layer.lora) {
        all.insert(all.end(), {&layer.lora->down, &layer.lora->up});
      }
    }
    std::erase_if(all, [](const Parameter* parameter) { return !parameter->defined(); });
    return all;
  }

  /// A copy in `dtype`, with gradient buffers of zeros in f32 or better.
  Data as(at::ScalarType dtype) const {
    Data copy = *this;
    for (at::Tensor& input : copy.inputs) {
      input = input.detach().to(dtype).clone();
    }
    for (Parameter* parameter : copy.parameters()) {
      parameter->value = parameter->value.detach().to(dtype).clone();
      parameter->grad = at::zeros_like(parameter->value, dtype == at::kDouble ? at::kDouble : at::kFloat);
    }
    return copy;
  }
};

/// Outputs, then gradients of inputs, then gradients of parameters.
struct Results {
  std::vector<at::Tensor> outputs;
  std::vector<at::Tensor> gradients;
};

/// Cotangents of the outputs, with which backward starts.
inline std::vector<at::Tensor> cotangents(const std::vector<at::Tensor>& outputs, at::ScalarType like) {
  Samples samples(977);
  std::vector<at::Tensor> all;
  for (const at::Tensor& output : outputs) {
    all.push_back(samples.normal(output.sizes().vec()).to(like).to(output.scalar_type()));
  }
  return all;
}

inline Results run_on_tape(const OpCase& op, Data& data, at::ScalarType like) {
  Tape tape;
  std::vector<Var> inputs;
  for (const at::Tensor& input : data.inputs) {
    inputs.push_back(tape.input(input));
  }
  const std::vector<Var> outputs = op.run(tape, inputs, data.layers);
  Results results;
  for (const Var& output : outputs) {
    results.outputs.push_back(output.value);
  }
  const std::vector<at::Tensor> seeds = cotangents(results.outputs, like);
  std::vector<Tape::Seed> pairs;
  for (size_t i = 0; i < outputs.size(); ++i) {
    pairs.push_back({outputs[i], seeds[i]});
  }
  tape.backward(pairs);
  for (const Var& input : inputs) {
    results.gradients.push_back(tape.gradient(input));
  }
  for (const Parameter* parameter : data.parameters()) {
    results.gradients.push_back(parameter->grad);
  }
  return results;
}

/// Runs the case with torch's autograd.
inline Results run_autograd(const OpCase& op, Data& data, at::ScalarType like) {
  std::vector<at::Tensor> leaves;
  for (at::Tensor& input : data.inputs) {
    leaves.push_back(input.requires_grad_());
  }
  for (Parameter* parameter : data.parameters()) {
    leaves.push_back(parameter->value.requires_grad_());
  }
  Results results;
  const std::vector<at::Tensor> outputs = op.oracle(data.inputs, data.layers);
  std::vector<at::Tensor> detached;
  for (const at::Tensor& output : outputs) {
    detached.push_back(output.detach());
  }
  const std::vector<at::Tensor> seeds = cotangents(detached, like);
  for (size_t i = 0; i < outputs.size(); ++i) {
    outputs[i].backward(seeds[i], /*retain_graph=*/true);
  }
  results.outputs = detached;
  for (const at::Tensor& leaf : leaves) {
    results.gradients.push_back(leaf.grad().defined() ? leaf.grad() : at::zeros_like(leaf));
  }
  return results;
}

}  // namespace smpo::tape::test

#endif  // SMPO_TEST_TAPE_OP_CASE_H_

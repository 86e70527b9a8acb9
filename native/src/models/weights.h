// The parameters of one model: named as in its checkpoint, laid one after another in flat buffers.
//
//   Weights w({.precision = at::kBFloat16, .trainable = true});
//   const tape::Layer& conv_in = w.conv2d("conv_in", 4, 320, 3);      // a model's constructor declares, once
//   w.allocate();                                                     // then there is memory
//   w.write("conv_in.weight", tensor);                                // any float dtype, the checkpoint's layout
//   w.require_written();                                              // before the first use
//
// Buffers. `compute` is what ops read, in the model's precision. `master` is the f32 that an optimizer updates: the
// same memory where the precision is f32, a buffer of its own for a trainable model in bf16, and absent for a frozen
// one. `gradient` is f32, and absent for a frozen model. Parameters are views of all three at the same offset, in the
// order of declaration, each beginning on a boundary of kAlignment elements; what lies between them is zero.
// Convolution weights are [out,in,kh,kw] with channels_last strides, so reading and writing permutes them.
//
// Adapters (LoRA) are declared on layers that exist, get buffers of their own, and train while the model is frozen.
#ifndef SMPO_MODELS_WEIGHTS_H_
#define SMPO_MODELS_WEIGHTS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tape/weights.h"

namespace smpo::models {

/// A tensor whose shape is not that of its parameter or input.
class ShapeMismatch final : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

struct WeightOptions {
  /// Of the compute copy, and so of the activations: f32 or bf16 (f64: for tests, master and gradient alike).
  at::ScalarType precision = at::kFloat;
  bool trainable = false;
  at::Device device = at::kCPU;
};

/// Parameters in one set of flat buffers: a model's own, or those of its adapters.
class ParameterGroup final {
 public:
  /// In elements: 64 bytes of bf16.
  static constexpr int64_t kAlignment = 32;

  struct Entry {
    std::string name;
    std::vector<int64_t> shape;
    /// Of the first element in each of the flat buffers.
    int64_t offset = 0;
    int64_t elements = 0;
    bool written = false;
    /// View of the master; of the compute copy where there is no master.
    at::Tensor master = {};
    tape::Parameter* parameter = nullptr;
  };

  /// `parameter` must stay where it is.
  void declare(tape::Parameter* parameter, std::string name, std::vector<int64_t> shape);
  /// Makes the buffers, filled with zeros, and the views.
  void allocate(const WeightOptions& options);
  /// The entry's part of a flat buffer that is laid out as these are: an optimizer's state.
  static at::Tensor view(const at::Tensor& flat, const Entry& entry);
  /// The compute copy becomes the rounded master. Nothing to do where they share memory or there is no master.
  void refresh_compute_copy();

  const std::vector<Entry>& entries() const { return entries_; }
  std::vector<Entry>& entries() { return entries_; }
  /// Number of parameters' elements, without what lies between them.
  int64_t elements() const { return elements_; }
  /// Of all buffers.
  int64_t bytes() const;
  /// One dimension each. Undefined where there is none.
  const at::Tensor& master() const { return master_; }
  const at::Tensor& compute() const { return compute_; }
  const at::Tensor& gradient() const { return gradient_; }

 private:
  std::vector<Entry> entries_;
  int64_t end_ = 0;
  int64_t elements_ = 0;
  at::Tensor master_, compute_, gradient_;
};

class Weights final {
 public:
  explicit Weights(const WeightOptions& options);
  Weights(const Weights&) = delete;
  Weights& operator=(const Weights&) = delete;

  // ---- declaration, in a model's constructor. References stay good as long as the Weights.

  /// `name`.weight [out,in] and, unless told, `name`.bias [out].
  const tape::Layer& linear(const std::string& name, int64_t in, int64_t out, bool bias = true);
  /// `name`.weight [out,in,kernel,kernel] and, unless told, `name`.bias [out].
  const tape::Layer& conv2d(const std::string& name, int64_t in, int64_t out, int64_t kernel, bool bias = true);
  /// `name`.weight and `name`.bias [channels].
  const tape::Layer& norm(const std::string& name, int64_t channels);
  /// A parameter of no layer, under its full name: an embedding's table, a class embedding.
  const tape::Parameter& parameter(const std::string& name, std::vector<int64_t> shape);

  /// Once, after the last declaration.
  void allocate();

  // ---- access, by the name in the checkpoint. Throw std::invalid_argument for a name or a shape that is not ours.

  /// Parameters, then those of adapters: index 0 .. size() - 1.
  size_t size() const { return base_.entries().size() + (adapters_ ? adapters_->entries().size() : 0); }
  const ParameterGroup::Entry& entry(size_t index) const;
  /// Null if there is no such parameter.
  const ParameterGroup::Entry* find(std::string_view name) const;

  /// From a float tensor on any device with the parameter's shape; converted to the model's dtypes.
  void write(std::string_view name, const at::Tensor& value);
  /// A new dense row-major tensor on the model's device: the master's values (f32) or, where there is none, the compute
  /// copy's.
  at::Tensor read(std::string_view name) const;
  /// Likewise the gradient's values, f32. Throws where the parameter is frozen.
  at::Tensor read_gradient(std::string_view name) const;
  void zero_gradients();

  /// Throws std::invalid_argument with the first names of those that nobody has written. `adapters`: those as well.
  void require_written(bool adapters = true) const;

  const WeightOptions& options() const { return options_; }
  /// The model's own parameters.
  ParameterGroup& base() { return base_; }
  const ParameterGroup& base() const { return base_; }
  /// Those of the adapters; null without.
  ParameterGroup* adapters() { return adapters_.get(); }
  const ParameterGroup* adapters() const { return adapters_.get(); }
  /// What an optimizer updates: the adapters, else the model's own. Null where nothing is trainable.
  ParameterGroup* trained();

  // ---- adapters: y += scale * alpha / rank * up(down(x))

  struct LoraOptions {
    int64_t rank = 4;
    double alpha = 4.0;
    /// Names of linear and convolution layers.
    std::vector<std::string> modules = {};
  };
  /// Adds MODULE.lora_A.weight (to be written) and MODULE.lora_B.weight (zeros, counted as written) per module. Throws
  /// std::invalid_argument for an unknown module, one named twice, a trainable model, or one that has adapters.
  void add_lora(const LoraOptions& options);
  /// The scale of all adapters, 1 at first. 0: models are to be run with `Tape::Options::adapters` off.
  void set_lora_scale(double scale);
  double lora_scale() const { return lora_scale_; }
  /// Adds weight * alpha / rank * B A to the model's weights (in f32, rounded once) and removes the adapters.
  void merge_lora(double weight);

 private:
  tape::Layer& new_layer(const std::string& name);
  const ParameterGroup::Entry& existing(std::string_view name) const;

  WeightOptions options_;
  // Deques: what they hold does not move.
  std::deque<tape::Layer> layers_;
  std::deque<tape::Parameter> lone_parameters_;
  std::unordered_map<std::string, tape::Layer*> layer_of_name_;
  std::unordered_map<std::string, size_t> index_of_name_;
  ParameterGroup base_;

  std::unique_ptr<ParameterGroup> adapters_;
  std::vector<tape::Layer*> adapted_;
  double lora_scale_ = 1.0;
  double alpha_over_rank_ = 1.0;
};

}  // namespace smpo::models

#endif  // SMPO_MODELS_WEIGHTS_H_

// The parameters of one model, named as in its checkpoint and laid out one after another in flat buffers.
//
// ```text
//   Weights w({.precision = at::kBFloat16, .trainable = true});
//   const tape::Layer& conv_in = w.conv2d("conv_in", 4, 320, 3);      // declared by the model's constructor
//   w.allocate();                                                     // allocates all buffers
//   w.write("conv_in.weight", tensor);                                // any float dtype, the checkpoint's layout
//   w.require_written();                                              // before the first use
// ```
//
// Buffers. `compute` is read by ops and has the model's precision. `master` is f32 and is updated by an optimizer: the
// same memory if the precision is f32, a separate buffer for a trainable bf16 model, absent for a frozen bf16 model.
// `gradient` is f32, and absent for a frozen model. Parameters are views of all three at the same offset, in the order
// of declaration, each aligned to kAlignment elements; the gaps between them are zero. Convolution weights are
// [out,in,kh,kw] with channels_last strides, so reading and writing permutes them.
//
// Adapters (LoRA) are declared on existing layers, have buffers of their own, and train while the model is frozen.
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
#include <utility>
#include <vector>

#include "tape/packed_weights.h"
#include "tape/weights.h"

namespace smpo::models {

/// Thrown for a tensor whose shape does not match its parameter or input.
class ShapeMismatch final : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

struct WeightOptions {
  /// Dtype of the compute copy and of activations: f32 or bf16 (f64 in tests, for master and gradient as well).
  at::ScalarType precision = at::kFloat;
  bool trainable = false;
  at::Device device = at::kCPU;
  tape::PackingOptions packing = {};
};

/// Parameters in one set of flat buffers: those of a model, or those of its adapters.
class ParameterGroup final {
 public:
  /// Alignment of parameters in elements; 64 bytes of bf16.
  static constexpr int64_t kAlignment = 32;

  struct Entry {
    std::string name;
    std::vector<int64_t> shape;
    /// Offset of the first element in each of the flat buffers.
    int64_t offset = 0;
    int64_t elements = 0;
    bool written = false;
    /// View of the master, or of the compute copy if there is no master.
    at::Tensor master = {};
    tape::Parameter* parameter = nullptr;
  };

  /// `parameter` must not move.
  void declare(tape::Parameter* parameter, std::string name, std::vector<int64_t> shape);
  /// Allocates the buffers, filled with zeros, and creates the views.
  void allocate(const WeightOptions& options);
  /// Returns the entry's view of a flat buffer with the same layout, such as an optimizer's state.
  static at::Tensor view(const at::Tensor& flat, const Entry& entry);
  /// Drops the packed copies of the parameters. To be called whenever their values have changed.
  void values_changed();
  /// Rounds the master into the compute copy. Does nothing if they share memory or there is no master.
  void refresh_compute_copy();

  const std::vector<Entry>& entries() const { return entries_; }
  std::vector<Entry>& entries() { return entries_; }
  /// Number of elements of all parameters, without gaps.
  int64_t elements() const { return elements_; }
  /// Size of all buffers in bytes.
  int64_t bytes() const;
  /// Size of the packed copies in bytes.
  int64_t packed_bytes() const { return packed_ == nullptr ? 0 : packed_->bytes(); }
  /// The flat buffers, of one dimension each; undefined if absent.
  const at::Tensor& master() const { return master_; }
  const at::Tensor& compute() const { return compute_; }
  const at::Tensor& gradient() const { return gradient_; }

 private:
  std::vector<Entry> entries_;
  int64_t end_ = 0;
  int64_t elements_ = 0;
  at::Tensor master_, compute_, gradient_;
  std::unique_ptr<tape::PackedWeights> packed_;
};

class Weights final {
 public:
  explicit Weights(const WeightOptions& options);
  Weights(const Weights&) = delete;
  Weights& operator=(const Weights&) = delete;

  // ---- declaration, by a model's constructor. References are valid as long as the Weights.

  /// Declares `name`.weight [out,in] and, with `bias`, `name`.bias [out].
  const tape::Layer& linear(const std::string& name, int64_t in, int64_t out, bool bias = true);
  /// Declares `name`.weight [out,in,kernel,kernel] and, with `bias`, `name`.bias [out].
  const tape::Layer& conv2d(const std::string& name, int64_t in, int64_t out, int64_t kernel, bool bias = true);
  /// Declares `name`.weight and `name`.bias, [channels] each.
  const tape::Layer& norm(const std::string& name, int64_t channels);
  /// Declares a parameter that belongs to no layer, under its full name: an embedding table, a class embedding.
  const tape::Parameter& parameter(const std::string& name, std::vector<int64_t> shape);

  /// Allocates all buffers. Called once, after the last declaration.
  void allocate();

  // ---- access, by the name in the checkpoint. Throw std::invalid_argument for an unknown name or another shape.

  /// Number of parameters, including those of adapters, which come last.
  size_t size() const { return base_.entries().size() + (adapters_ ? adapters_->entries().size() : 0); }
  const ParameterGroup::Entry& entry(size_t index) const;
  /// Returns null if there is no such parameter.
  const ParameterGroup::Entry* find(std::string_view name) const;

  /// Writes a parameter from a floating tensor on any device with the parameter's shape, converted to the model's
  /// dtypes.
  void write(std::string_view name, const at::Tensor& value);
  /// Returns a new dense row-major tensor on the model's device with the values of the master (f32) or, if there is
  /// none, of the compute copy.
  at::Tensor read(std::string_view name) const;
  /// Freezes all parameters, those of adapters too, while it lives: a backward pass then computes no gradient of a
  /// parameter, and leaves those that were summed before as they are.
  class Frozen final {
   public:
    explicit Frozen(Weights& weights);
    ~Frozen();
    Frozen(const Frozen&) = delete;
    Frozen& operator=(const Frozen&) = delete;

   private:
    std::vector<std::pair<tape::Parameter*, at::Tensor>> gradients_;
  };

  /// Returns the gradient in the same way, f32. Throws for a frozen parameter.
  at::Tensor read_gradient(std::string_view name) const;
  void zero_gradients();

  /// Throws std::invalid_argument with the names of the first parameters that have not been written. `adapters`:
  /// whether to check the adapters as well.
  void require_written(bool adapters = true) const;

  const WeightOptions& options() const { return options_; }
  /// The model's own parameters.
  ParameterGroup& base() { return base_; }
  const ParameterGroup& base() const { return base_; }
  /// Parameters of the adapters; null without adapters.
  ParameterGroup* adapters() { return adapters_.get(); }
  const ParameterGroup* adapters() const { return adapters_.get(); }
  /// The parameters that an optimizer updates: the adapters if there are any, else the model's own. Null if nothing is
  /// trainable.
  ParameterGroup* trained();

  // ---- adapters: y += scale * alpha / rank * up(down(x))

  struct LoraOptions {
    int64_t rank = 4;
    double alpha = 4.0;
    /// Names of linear and convolution layers to adapt.
    std::vector<std::string> modules = {};
  };
  /// Adds MODULE.lora_A.weight (to be written) and MODULE.lora_B.weight (zeros, counted as written) per module. Throws
  /// std::invalid_argument for an unknown module, one named twice, a trainable model, or one that has adapters.
  void add_lora(const LoraOptions& options);
  /// Sets the scale of all adapters, initially 1. With 0, run the model with `Tape::Options::adapters` off.
  void set_lora_scale(double scale);
  double lora_scale() const { return lora_scale_; }
  /// Adds weight * alpha / rank * B A to the model's weights (in f32, rounded once) and removes the adapters.
  void merge_lora(double weight);

 private:
  tape::Layer& new_layer(const std::string& name);
  const ParameterGroup::Entry& existing(std::string_view name) const;

  WeightOptions options_;
  // Deques, because their elements do not move.
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

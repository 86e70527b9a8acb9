// The tape: a record of the forward pass, which the backward pass runs in reverse.
//
//   Tape tape;                                       // records
//   Var x = tape.input(latents);
//   Var y = conv2d(tape, x, w.conv_in, {.padding = 1});
//   tape.backward({{y, d_y}});                       // adds to the gradients of every parameter that was used
//   at::Tensor d_latents = tape.gradient(x);
//
// Model code is written once. On a recording tape its ops keep what their backward needs; on Tape::inference() the same
// code keeps nothing. There is no autograd underneath: values never require grad, and the caller runs under
// c10::InferenceMode (or with nothing that requires grad), which the tape checks.
//
// Order. Records run strictly in reverse on the calling thread, gradients of one value are added in that order, and
// parameters' gradients are added to their buffers in that order: two runs of one program on one machine give the same
// bits. Each record is destroyed, and the gradient of its output released, as soon as it has run, so that backward
// frees activations along the way.
#ifndef SMPO_TAPE_TAPE_H_
#define SMPO_TAPE_TAPE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "tape/weights.h"

namespace smpo::tape {

/// A value that is cheap to compute again from what its op keeps for its own backward: the result of a norm or an
/// activation. Ops whose backward needs the value keep this in its place. The first of them computes it, with the same
/// bits, and the op's own backward, which runs after theirs, releases it.
class Recomputed {
 public:
  explicit Recomputed(std::function<at::Tensor()> compute) : compute_(std::move(compute)) {}

  const at::Tensor& value() {
    if (!value_.defined()) value_ = compute_();
    return value_;
  }
  void release() { value_.reset(); }

 private:
  std::function<at::Tensor()> compute_;
  at::Tensor value_;
};

/// A value kept by a record: the value, or a way to compute it. Undefined until assigned.
class Kept {
 public:
  Kept() = default;
  explicit Kept(at::Tensor value) : value_(std::move(value)) {}
  explicit Kept(std::shared_ptr<Recomputed> again) : again_(std::move(again)) {}

  const at::Tensor& value() const { return again_ ? again_->value() : value_; }

 private:
  at::Tensor value_;
  std::shared_ptr<Recomputed> again_;
};

/// A value of a forward pass, and its node on the tape. Cheap to copy: the tensor is shared.
struct Var {
  at::Tensor value;
  /// Number of its node; negative: a constant, to which no gradient flows.
  int32_t node = kConstant;
  /// Null: the value cannot be computed again, and is kept where it is needed later.
  std::shared_ptr<Recomputed> again = nullptr;

  static constexpr int32_t kConstant = -1;

  Var() = default;
  Var(at::Tensor tensor, int32_t id = kConstant)
      : value(std::move(tensor)), node(id) {}  // NOLINT: a tensor is a constant

  bool defined() const { return value.defined(); }
  Kept kept() const { return again ? Kept(again) : Kept(value); }
  int64_t size(int64_t dim) const { return value.size(dim); }
};

class Tape {
 public:
  struct Options {
    /// Whether to keep what backward needs.
    bool record = true;
    /// Whether layers add their adapters. Without, it is the base model: the reference of a LoRA policy.
    bool adapters = true;
  };

  /// Given the gradients of a record's outputs in order (one that nobody used is undefined), hands gradients on by
  /// `accumulate` and `accumulate_parameter`. Runs once.
  using Backward = std::function<void(Tape&, const at::Tensor& gradient)>;
  using BackwardOfMany = std::function<void(Tape&, std::span<const at::Tensor> gradients)>;
  /// A part of a model: outputs from inputs. Must be a pure function of them and of the weights, since it runs twice.
  using Segment = std::function<std::vector<Var>(Tape&, std::span<const Var> inputs)>;

  Tape() = default;
  explicit Tape(Options options) : options_(options) {}
  /// Returns a tape that records nothing.
  static Tape inference(bool adapters = true) { return Tape({.record = false, .adapters = adapters}); }

  Tape(Tape&&) = default;
  Tape& operator=(Tape&&) = default;
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  bool recording() const { return options_.record; }
  bool adapters() const { return options_.adapters; }

  // ---- for code that runs a model

  /// Makes a value whose gradient `gradient` returns after backward. On an inference tape, a constant.
  Var input(at::Tensor value);

  /// Makes a value of a parameter, for ops that take no Layer (position embeddings, for one).
  Var parameter(const Parameter& parameter);

  struct Seed {
    Var output;
    /// Shape of the output; d loss / d output.
    at::Tensor gradient;
  };

  /// Runs every record in reverse from these gradients. Once per tape: what was recorded is consumed.
  void backward(std::span<const Seed> seeds);
  void backward(std::initializer_list<Seed> seeds) { backward(std::span<const Seed>(seeds.begin(), seeds.size())); }

  /// Returns the gradient of an `input` after backward; zeros if none reached it.
  at::Tensor gradient(const Var& input) const;

  /// Runs `segment` without keeping its activations, and again in backward with them (gradient checkpointing).
  /// Gradients have the bits they would have without. The segment's inputs that need gradients come through `inputs`;
  /// capturing such a Var is an error.
  std::vector<Var> checkpoint(std::vector<Var> inputs, Segment segment);

  // ---- for ops

  /// Whether any of these needs a gradient. An op with no such input and no trainable parameter records nothing.
  bool tracks(std::initializer_list<std::reference_wrapper<const Var>> values) const;
  bool tracks(const Var& value) const;
  /// Whether this tape trains the layer or its adapter.
  bool trains(const Layer& layer) const;
  bool trains(const Parameter& parameter) const { return options_.record && parameter.trainable(); }
  /// The layer's adapter; null if it has none or this tape uses none.
  const Lora* adapter(const Layer& layer) const;

  Var record(at::Tensor value, Backward backward);
  std::vector<Var> record(std::vector<at::Tensor> values, BackwardOfMany backward);
  /// Records a value that `compute` can make again, with the same bits, from what `backward` keeps.
  Var record_recomputed(at::Tensor value, std::function<at::Tensor()> compute, Backward backward);

  /// Adds to the gradient of a node. Does nothing for a constant; check `tracks` or `node` to save the work.
  void accumulate(int32_t node, at::Tensor gradient);
  void accumulate(const Var& value, at::Tensor gradient) { accumulate(value.node, std::move(gradient)); }

  /// Adds to a parameter's gradient, from any float dtype. Does nothing for a frozen parameter.
  static void accumulate_parameter(const Parameter& parameter, const at::Tensor& gradient);

 private:
  struct Record {
    int32_t first_node;
    int32_t outputs;
    BackwardOfMany backward;
  };

  int32_t new_node();
  /// Throws if `node` belongs to another tape.
  void check_own(int32_t node) const;
  void run_records();

  Options options_;
  /// Nodes of a recomputed segment's tape begin where the outer tape's end, so that a stray Var is noticed.
  int32_t first_node_ = 0;
  std::vector<at::Tensor> gradients_;
  std::vector<Record> records_;
  bool spent_ = false;
};

}  // namespace smpo::tape

#endif  // SMPO_TAPE_TAPE_H_

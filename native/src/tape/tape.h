// The tape: what happened in the forward pass, so that the backward pass can run it in reverse.
//
//   Tape tape;                                       // records
//   Var x = tape.input(latents);
//   Var y = conv2d(tape, x, w.conv_in, {.padding = 1});
//   tape.backward({{y, d_y}});                       // adds to the gradients of every parameter that was used
//   at::Tensor d_latents = tape.gradient(x);
//
// Model code is written once. Given a recording tape its ops keep what their backward needs; given Tape::inference()
// the same code keeps nothing. There is no autograd underneath: values never require grad, and the caller is under
// c10::InferenceMode (or has nothing that requires grad), which the tape checks.
//
// Order. Records run strictly in reverse on the calling thread, gradients that meet at one value are added in that
// order, and parameters' gradients are added to their buffers in that order: two runs of one program on one machine
// give the same bits. Each record is destroyed, and the gradient of its output released, as soon as it has run, so that
// backward frees activations while it goes.
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

/// A value that is cheap to compute from what its op keeps for its own backward: a norm's, an activation's. Those whose
/// backward wants it keep this in place of the value. The first of them computes it, with the bits it had, and the op's
/// own backward, which runs after theirs, gives it back.
class Recomputed {
 public:
  explicit Recomputed(std::function<at::Tensor()> compute) : compute_(std::move(compute)) {}

  const at::Tensor& value() {
    if (!value_.defined()) value_ = compute_();
    return value_;
  }
  void give_back() { value_.reset(); }

 private:
  std::function<at::Tensor()> compute_;
  at::Tensor value_;
};

/// What a record keeps of a value: the value, or the way to it. Undefined until assigned.
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

/// A value in a forward pass, and its place on the tape. Cheap to copy: the tensor is shared.
struct Var {
  at::Tensor value;
  /// Node of the tape that made it; negative: a constant, to which no gradient flows.
  int32_t node = kConstant;
  /// Null: whoever needs the value later keeps it.
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
    /// Keep what backward needs.
    bool record = true;
    /// Layers add their adapters. Off: the model underneath, which is the reference of a LoRA policy.
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
  /// A tape that records nothing.
  static Tape inference(bool adapters = true) { return Tape({.record = false, .adapters = adapters}); }

  Tape(Tape&&) = default;
  Tape& operator=(Tape&&) = default;
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  bool recording() const { return options_.record; }
  bool adapters() const { return options_.adapters; }

  // ---- for those who run a model

  /// A value whose gradient is wanted: `gradient` gives it after backward. On an inference tape, a constant.
  Var input(at::Tensor value);

  /// A parameter as a value, for ops that take no Layer (position embeddings, for one).
  Var parameter(const Parameter& parameter);

  struct Seed {
    Var output;
    /// Shape of the output; d loss / d output.
    at::Tensor gradient;
  };

  /// Runs every record in reverse from these gradients. Once per tape: what was recorded is consumed.
  void backward(std::span<const Seed> seeds);
  void backward(std::initializer_list<Seed> seeds) { backward(std::span<const Seed>(seeds.begin(), seeds.size())); }

  /// Gradient of an `input` after backward; zeros if none reached it.
  at::Tensor gradient(const Var& input) const;

  /// Runs `segment` without keeping its activations, and again in backward with them (gradient checkpointing).
  /// Gradients have the bits they would have without. The segment's inputs that need gradients come through `inputs`;
  /// capturing such a Var is an error.
  std::vector<Var> checkpoint(std::vector<Var> inputs, Segment segment);

  // ---- for ops

  /// Whether a gradient must reach any of these. An op with no such input and no trainable parameter records nothing.
  bool tracks(std::initializer_list<std::reference_wrapper<const Var>> values) const;
  bool tracks(const Var& value) const;
  /// Whether this tape trains the layer (or its adapter).
  bool trains(const Layer& layer) const;
  bool trains(const Parameter& parameter) const { return options_.record && parameter.trainable(); }
  /// The layer's adapter, if it has one and this tape uses adapters.
  const Lora* adapter(const Layer& layer) const;

  Var record(at::Tensor value, Backward backward);
  std::vector<Var> record(std::vector<at::Tensor> values, BackwardOfMany backward);
  /// Likewise of a value that `compute` makes again with the same bits, from what `backward` keeps.
  Var record_recomputed(at::Tensor value, std::function<at::Tensor()> compute, Backward backward);

  /// Adds to the gradient of a node. A constant takes none: callers may skip the work by asking `tracks` or `node`.
  void accumulate(int32_t node, at::Tensor gradient);
  void accumulate(const Var& value, at::Tensor gradient) { accumulate(value.node, std::move(gradient)); }

  /// Adds to a parameter's buffer; the gradient may have another float dtype. A frozen parameter takes none.
  static void accumulate_parameter(const Parameter& parameter, const at::Tensor& gradient);

 private:
  struct Record {
    int32_t first_node;
    int32_t outputs;
    BackwardOfMany backward;
  };

  int32_t new_node();
  /// Throws where `node` is not of this tape.
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

// Copies of weights in the layouts that oneDNN's kernels read. Given a plain weight, oneDNN brings it into such a
// layout at every call, which for a small image with many channels takes longer than the convolution itself. A copy is
// made by the first op that wants it and serves until the weights change. Results have the same bits with a copy and
// without.
#ifndef SMPO_TAPE_PACKED_WEIGHTS_H_
#define SMPO_TAPE_PACKED_WEIGHTS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace smpo::tape {

struct PackingOptions {
  /// Bytes that all copies together may take; asked when the first copy is made and again after each `clear`. Empty: no
  /// limit.
  std::function<int64_t()> budget = {};
  /// Called with the bytes of the first copy that the budget had no room for.
  std::function<void(int64_t bytes)> refused = {};
};

/// The copies of one set of parameters. `get` may be called from several threads at a time.
class PackedWeights final {
 public:
  explicit PackedWeights(PackingOptions options) : options_(std::move(options)) {}
  PackedWeights(const PackedWeights&) = delete;
  PackedWeights& operator=(const PackedWeights&) = delete;

  /// The copy of `weight`, made by `pack` if there is none. Undefined where the budget has no room for it.
  at::Tensor get(const at::Tensor& weight, const std::function<at::Tensor()>& pack);

  /// Drops all copies. To be called whenever a weight has changed.
  void clear();

  /// Bytes that the copies take.
  int64_t bytes() const { return bytes_; }

 private:
  PackingOptions options_;
  std::mutex mutex_;
  // By the address of the plain weight.
  std::unordered_map<const void*, at::Tensor> copies_;
  int64_t bytes_ = 0;
  int64_t budget_ = -1;  // -1: not asked for
  bool told_ = false;
};

}  // namespace smpo::tape

#endif  // SMPO_TAPE_PACKED_WEIGHTS_H_

// The part of an optimizer's state that one of several processes keeps (ZeRO stage 1).
//
// A flat buffer of n elements is cut into a chunk for each rank and a remainder of fewer than 32 elements for each
// rank, which all ranks keep. A process stores its chunk and then the remainder, one after the other.
#ifndef SMPO_ENGINE_SHARD_H_
#define SMPO_ENGINE_SHARD_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace smpo::engine {

struct Comm;

class Shard {
 public:
  // A run of elements: where it begins in the flat buffer and in this process's part.
  struct Run {
    int64_t flat;
    int64_t own;
    int64_t elements;
  };

  // `comm` may be null: this process then keeps everything.
  Shard(std::shared_ptr<Comm> comm, int64_t elements);

  bool shared() const { return comm_ != nullptr; }
  // Number of elements that this process keeps.
  int64_t elements() const;
  const std::vector<Run>& runs() const { return runs_; }

  // Copies what this process keeps of `values`, elements of the flat buffer from `offset` on, into its part.
  void keep(const at::Tensor& values, int64_t offset, const at::Tensor& own) const;
  // Returns `elements` elements of the flat buffer from `offset` on: a view where nothing is shared, else a copy that
  // all ranks must ask for.
  at::Tensor whole(const at::Tensor& own, int64_t offset, int64_t elements) const;
  // Completes a flat buffer in which each rank has written its runs.
  void complete(const at::Tensor& flat) const;

 private:
  std::shared_ptr<Comm> comm_;
  int64_t chunk_;
  std::vector<Run> runs_;
};

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_SHARD_H_

#include "engine/shard.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <utility>

#include "engine/comm/collectives.h"
#include "models/weights.h"

namespace smpo::engine {
namespace {

// Elements that are in the run and in [offset, offset + elements): first element in the flat buffer, and their number.
struct Overlap {
  int64_t flat;
  int64_t elements;
};

Overlap overlap(int64_t begin, int64_t length, int64_t offset, int64_t elements) {
  const int64_t flat = std::max(begin, offset);
  return {flat, std::max<int64_t>(0, std::min(begin + length, offset + elements) - flat)};
}

}  // namespace

Shard::Shard(std::shared_ptr<Comm> comm, int64_t elements) : comm_(std::move(comm)) {
  if (!shared()) {
    chunk_ = elements;
    runs_ = {{.flat = 0, .own = 0, .elements = elements}};
    return;
  }
  // Kernels see the same alignment as without shards, so they round alike.
  constexpr int64_t kAlignment = models::ParameterGroup::kAlignment;
  const int64_t size = size_of(*comm_);
  chunk_ = elements / size / kAlignment * kAlignment;
  runs_ = {{.flat = rank_of(*comm_) * chunk_, .own = 0, .elements = chunk_},
           {.flat = size * chunk_, .own = chunk_, .elements = elements - size * chunk_}};
  std::erase_if(runs_, [](const Run& run) { return run.elements == 0; });
}

int64_t Shard::elements() const {
  int64_t sum = 0;
  for (const Run& run : runs_) sum += run.elements;
  return sum;
}

void Shard::keep(const at::Tensor& values, int64_t offset, const at::Tensor& own) const {
  for (const Run& run : runs_) {
    const Overlap both = overlap(run.flat, run.elements, offset, values.numel());
    if (both.elements == 0) continue;
    own.narrow(0, run.own + both.flat - run.flat, both.elements)
        .copy_(values.narrow(0, both.flat - offset, both.elements));
  }
}

at::Tensor Shard::whole(const at::Tensor& own, int64_t offset, int64_t elements) const {
  if (!shared()) return own.narrow(0, offset, elements);
  const at::Tensor all = at::empty({elements}, own.options());
  for (const Run& run : runs_) {
    const Overlap both = overlap(run.flat, run.elements, offset, elements);
    if (both.elements == 0) continue;
    all.narrow(0, both.flat - offset, both.elements)
        .copy_(own.narrow(0, run.own + both.flat - run.flat, both.elements));
  }
  for (int32_t rank = 0; rank < size_of(*comm_); ++rank) {
    const Overlap its = overlap(rank * chunk_, chunk_, offset, elements);
    if (its.elements > 0) broadcast(*comm_, all.narrow(0, its.flat - offset, its.elements), rank);
  }
  return all;
}

void Shard::complete(const at::Tensor& flat) const {
  if (!shared() || chunk_ == 0) return;
  all_gather(*comm_, flat.narrow(0, rank_of(*comm_) * chunk_, chunk_), flat.narrow(0, 0, size_of(*comm_) * chunk_));
}

}  // namespace smpo::engine

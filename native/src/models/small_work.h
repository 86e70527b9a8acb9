// Networks so small that starting and joining threads takes longer than most of their layers. A batch of such a network
// is shared among threads as a whole, so that they are joined once per evaluation rather than once per layer.
#ifndef SMPO_MODELS_SMALL_WORK_H_
#define SMPO_MODELS_SMALL_WORK_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace smpo::models {

/// Rows of a share, at least. Products of fewer rows may be summed in another order than those of the whole batch.
constexpr int64_t kLeastRowsOfShare = 6;

/// Calls `evaluate(first, count)` for equal shares of the rows 0 .. batch - 1, each on a thread of its own: as many as
/// there are threads and as kLeastRowsOfShare allows. A single share is evaluated by the calling thread, which may
/// start others. Returns the results, joined in order. Throws the exception of the first share that throws.
at::Tensor evaluate_in_shares(int64_t batch, const std::function<at::Tensor(int64_t first, int64_t count)>& evaluate);

}  // namespace smpo::models

#endif  // SMPO_MODELS_SMALL_WORK_H_

#include "models/small_work.h"

#include <ATen/ThreadLocalState.h>
#include <ATen/ops/cat.h>
#include <omp.h>

#include <algorithm>
#include <exception>
#include <vector>

namespace smpo::models {

at::Tensor evaluate_in_shares(int64_t batch, const std::function<at::Tensor(int64_t, int64_t)>& evaluate) {
  const int64_t shares = std::min<int64_t>(batch / kLeastRowsOfShare, omp_get_max_threads());
  if (shares <= 1) return evaluate(0, batch);
  std::vector<at::Tensor> results(static_cast<size_t>(shares));
  std::vector<std::exception_ptr> failures(results.size());
  // LibTorch keeps its modes (inference, no gradients) per thread.
  const at::ThreadLocalState state;
#pragma omp parallel for schedule(static, 1) num_threads(static_cast<int>(shares))
  for (int64_t share = 0; share < shares; ++share) {
    const auto index = static_cast<size_t>(share);
    try {
      const at::ThreadLocalStateGuard guard(state);
      const int64_t first = batch * share / shares, end = batch * (share + 1) / shares;
      results[index] = evaluate(first, end - first);
    } catch (...) {
      failures[index] = std::current_exception();
    }
  }
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
  return at::cat(results);
}

}  // namespace smpo::models

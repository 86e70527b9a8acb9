#include "tape/packed_weights.h"

#include <limits>
#include <utility>

namespace smpo::tape {

at::Tensor PackedWeights::get(const at::Tensor& weight, const std::function<at::Tensor()>& pack) {
  const std::lock_guard lock(mutex_);
  const void* const address = weight.const_data_ptr();
  if (const auto found = copies_.find(address); found != copies_.end()) return found->second;
  if (budget_ < 0) budget_ = options_.budget ? options_.budget() : std::numeric_limits<int64_t>::max();
  // Layouts are padded to whole blocks of channels, which for the weights that are packed is next to nothing.
  const auto bytes = static_cast<int64_t>(weight.nbytes());
  if (bytes > budget_ - bytes_) {
    if (!std::exchange(told_, true) && options_.refused) options_.refused(bytes);
    return {};
  }
  bytes_ += bytes;
  return copies_.emplace(address, pack()).first->second;
}

void PackedWeights::clear() {
  copies_.clear();
  bytes_ = 0;
  budget_ = -1;
}

}  // namespace smpo::tape

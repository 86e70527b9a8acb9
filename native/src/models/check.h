// How a model refuses what it is given.
#ifndef SMPO_MODELS_CHECK_H_
#define SMPO_MODELS_CHECK_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "models/weights.h"

namespace smpo::models {

/// The parts, one after another.
template <typename... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return std::move(out).str();
}

/// Throws std::invalid_argument; the message is the parts, one after another.
template <typename... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  throw std::invalid_argument(text(parts...));
}

/// A count or a width in a spec: 1..2^20. `field`: its name in the config.
inline void check_size(int64_t value, std::string_view field) {
  constexpr int64_t kMost = 1 << 20;
  if (value < 1 || value > kMost) refuse(field, ": expected 1..", kMost, ", got ", value);
}

/// A tensor given to a model: throws ShapeMismatch "NAME: expected EXPECTED, got ..." unless `fits`; where there is no
/// tensor at all, std::invalid_argument.
inline void check_input(bool fits, std::string_view name, std::string_view expected, const at::Tensor& got) {
  if (fits) return;
  if (!got.defined()) refuse(name, ": expected ", expected, ", got none");
  throw ShapeMismatch(
      text(name, ": expected ", expected, ", got ", got.sizes(), " of ", at::toString(got.scalar_type())));
}

}  // namespace smpo::models

#endif  // SMPO_MODELS_CHECK_H_

// Checks of specs and inputs of models.
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

/// Returns the concatenation of the parts.
template <typename... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return std::move(out).str();
}

/// Throws std::invalid_argument. The message is the concatenation of the parts.
template <typename... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  throw std::invalid_argument(text(parts...));
}

/// Requires a count or a width of a spec to be in 1..2^20. `field`: name of the field in the config.
inline void check_size(int64_t value, std::string_view field) {
  constexpr int64_t kMost = 1 << 20;
  if (value < 1 || value > kMost) refuse(field, ": expected 1..", kMost, ", got ", value);
}

/// Throws ShapeMismatch "NAME: expected EXPECTED, got ..." unless the input tensor `fits`; std::invalid_argument if it
/// is undefined.
inline void check_input(bool fits, std::string_view name, std::string_view expected, const at::Tensor& got) {
  if (fits) return;
  if (!got.defined()) refuse(name, ": expected ", expected, ", got none");
  throw ShapeMismatch(
      text(name, ": expected ", expected, ", got ", got.sizes(), " of ", at::toString(got.scalar_type())));
}

}  // namespace smpo::models

#endif  // SMPO_MODELS_CHECK_H_

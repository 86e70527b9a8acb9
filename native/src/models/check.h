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

/// Requires attention heads that divide the width of the hidden states.
inline void check_heads(int64_t hidden_size, int64_t heads) {
  if (hidden_size % heads != 0) {
    refuse("num_attention_heads: expected a number that divides hidden_size (", hidden_size, "), got ", heads);
  }
}

/// Requires a positive epsilon of the layer norms.
inline void check_norm_eps(double eps) {
  if (!(eps > 0)) refuse("layer_norm_eps: expected more than 0, got ", eps);
}

/// Throws ShapeMismatch "NAME: expected EXPECTED, got ..." unless the input tensor `fits`; std::invalid_argument if it
/// is undefined.
inline void check_input(bool fits, std::string_view name, std::string_view expected, const at::Tensor& got) {
  if (fits) return;
  if (!got.defined()) refuse(name, ": expected ", expected, ", got none");
  throw ShapeMismatch(
      text(name, ": expected ", expected, ", got ", got.sizes(), " of ", at::toString(got.scalar_type())));
}

/// Returns the token ids [B,S] as int64 on the CPU, dense. Throws ShapeMismatch unless they are int32 or int64 with S
/// in 1..`positions`, and std::invalid_argument for an id outside 0..`vocab_size` - 1.
inline at::Tensor checked_ids(const at::Tensor& ids_BS, int64_t vocab_size, int64_t positions) {
  check_input(ids_BS.defined() && ids_BS.dim() == 2 && ids_BS.size(0) > 0 && ids_BS.size(1) > 0 &&
                  ids_BS.size(1) <= positions &&
                  (ids_BS.scalar_type() == at::kInt || ids_BS.scalar_type() == at::kLong),
              "ids", text("[B,S] of Int or Long, S in 1..", positions), ids_BS);
  at::Tensor ids = ids_BS.to(at::kCPU, at::kLong).contiguous();
  const auto* values = ids.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < ids.numel(); ++i) {
    if (values[i] < 0 || values[i] >= vocab_size) {
      refuse("ids[", i / ids.size(1), "][", i % ids.size(1), "]: expected 0..", vocab_size - 1,
             " (vocab_size - 1), got ", values[i]);
    }
  }
  return ids;
}

}  // namespace smpo::models

#endif  // SMPO_MODELS_CHECK_H_

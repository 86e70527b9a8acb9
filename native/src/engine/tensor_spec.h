#ifndef SMPO_ENGINE_TENSOR_SPEC_H_
#define SMPO_ENGINE_TENSOR_SPEC_H_

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "smpo.h"

namespace smpo::engine {

// A checked dtype and shape: the rank is in 0..SMPO_MAX_RANK, sizes are not negative, and the size in bytes and every
// row-major stride fit int64_t.
class TensorSpec final {
 public:
  // Throws Error(SMPO_INVALID_ARGUMENT) if one of these conditions fails.
  TensorSpec(int32_t dtype, std::span<const int64_t> shape);

  int32_t dtype() const { return dtype_; }
  std::span<const int64_t> shape() const { return {shape_.data(), static_cast<size_t>(rank_)}; }
  int64_t elements() const { return elements_; }
  int64_t bytes() const { return elements_ * element_size(dtype_); }
  bool floating() const { return is_floating(dtype_); }

  friend bool operator==(const TensorSpec&, const TensorSpec&) = default;

  // Size of one element in bytes. Throws Error(SMPO_INVALID_ARGUMENT) for a dtype that smpo.h does not define.
  static int64_t element_size(int32_t dtype);
  static bool is_floating(int32_t dtype) { return dtype == SMPO_F32 || dtype == SMPO_BF16 || dtype == SMPO_F16; }

 private:
  int32_t dtype_;
  int32_t rank_;
  std::array<int64_t, SMPO_MAX_RANK> shape_{};
  int64_t elements_;
};

// Throws Error(SMPO_DTYPE_MISMATCH) or Error(SMPO_SHAPE_MISMATCH) if the two differ.
void require_same(const TensorSpec& expected, const TensorSpec& got);

// "bf16"
const char* dtype_name(int32_t dtype);
// "[2,4]"
std::string shape_text(std::span<const int64_t> shape);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_TENSOR_SPEC_H_

// A tensor for kernels that take several element types: f32 or bf16 between guard pages, read and written as f64.
#ifndef SMPO_TEST_KERNELS_TENSOR_H_
#define SMPO_TEST_KERNELS_TENSOR_H_

#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/types.h"
#include "support/red_zone.h"

namespace smpo::test {

class Tensor {
 public:
  Tensor(kernels::DType dtype, int64_t count, Flush flush = Flush::kEnd)
      : dtype_(dtype), count_(count), bytes_(static_cast<size_t>(count * kernels::size_of(dtype)), flush) {}

  Tensor(kernels::DType dtype, const std::vector<float>& values, Flush flush = Flush::kEnd)
      : Tensor(dtype, static_cast<int64_t>(values.size()), flush) {
    for (int64_t i = 0; i < count_; ++i) set(i, values[static_cast<size_t>(i)]);
  }

  kernels::DType dtype() const { return dtype_; }
  int64_t count() const { return count_; }
  void* data() { return bytes_.data(); }
  const float* floats() const { return reinterpret_cast<const float*>(bytes_.data()); }
  float* floats() { return reinterpret_cast<float*>(bytes_.data()); }
  void freeze() { bytes_.freeze(); }
  void make_writable() { bytes_.make_writable(); }
  bool intact() const { return bytes_.intact(); }
  std::vector<unsigned char> bits() const { return bytes_.vector(); }

  double at(int64_t i) const {
    if (dtype_ == kernels::DType::kF32) return floats()[i];
    return kernels::to_float(reinterpret_cast<const kernels::BFloat16*>(bytes_.data())[i]);
  }

  /// Rounds to the tensor's type.
  void set(int64_t i, float value) {
    if (dtype_ == kernels::DType::kF32) {
      floats()[i] = value;
    } else {
      reinterpret_cast<kernels::BFloat16*>(bytes_.data())[i] = kernels::to_bfloat16(value);
    }
  }

 private:
  kernels::DType dtype_;
  int64_t count_;
  RedZone<unsigned char> bytes_;
};

inline constexpr kernels::DType kDTypes[] = {kernels::DType::kF32, kernels::DType::kBF16};

inline const char* name_of(kernels::DType dtype) { return dtype == kernels::DType::kF32 ? "f32" : "bf16"; }

/// Lengths of rows: around every lane count, group and chunk, and the latents of SD 1.5 and SDXL.
inline const std::vector<int64_t> kRowSizes = {1,  2,  3,   5,   7,    15,   16,   17,   31,    33,   63,
                                               64, 65, 127, 129, 1000, 4095, 4096, 4097, 16384, 65536};

}  // namespace smpo::test

#endif  // SMPO_TEST_KERNELS_TENSOR_H_

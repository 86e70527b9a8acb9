// Element access of the reference versions: any element type as f64.
#ifndef SMPO_KERNELS_REFERENCE_ELEMENTS_H_
#define SMPO_KERNELS_REFERENCE_ELEMENTS_H_

#include <cstdint>

#include "kernels/types.h"

namespace smpo::kernels::reference {

inline double load(const void* tensor, DType dtype, int64_t index) {
  return dtype == DType::kF32 ? static_cast<double>(static_cast<const float*>(tensor)[index])
                              : static_cast<double>(to_float(static_cast<const BFloat16*>(tensor)[index]));
}

inline void store(void* tensor, DType dtype, int64_t index, double value) {
  if (dtype == DType::kF32) {
    static_cast<float*>(tensor)[index] = static_cast<float>(value);
  } else {
    static_cast<BFloat16*>(tensor)[index] = to_bfloat16(static_cast<float>(value));
  }
}

}  // namespace smpo::kernels::reference

#endif  // SMPO_KERNELS_REFERENCE_ELEMENTS_H_

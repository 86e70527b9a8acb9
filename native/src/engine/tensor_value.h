#ifndef SMPO_ENGINE_TENSOR_VALUE_H_
#define SMPO_ENGINE_TENSOR_VALUE_H_

#include <ATen/core/Tensor.h>

namespace smpo::engine {

struct Tensor {
  at::Tensor value;  // contiguous
};

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_TENSOR_VALUE_H_

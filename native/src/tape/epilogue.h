// What is added to the result of a convolution or a linear layer, and the gradients of what is a bias: values without a
// tape.
#ifndef SMPO_TAPE_EPILOGUE_H_
#define SMPO_TAPE_EPILOGUE_H_

#include <ATen/core/Tensor.h>

#include "tape/weights.h"

namespace smpo::tape {

/// What is added. Each may be undefined.
struct Epilogue {
  at::Tensor bias_C = {};
  at::Tensor sample_bias_BC = {};
  at::Tensor residual = {};  // of the result's shape and layout
};

/// Whether the library that multiplies is to add the bias itself. On the CPU it does so while it writes, and for f64
/// there is no kernel; on a GPU a convolution's bias would be a pass of its own, so that it is left to the epilogue.
bool library_adds_bias(const at::Tensor& x);

/// y + all of it, in `dtype`: [B,C,H,W] in channels_last memory, or [...,C] dense. One pass over y, whose memory it may
/// take (nobody else may hold it); none where nothing is to be added and the dtype is y's.
at::Tensor with_epilogue(at::Tensor y, const Epilogue& epilogue, at::ScalarType dtype);

/// From the gradient of such a result: the bias's is added to its buffer (frozen or absent: not), and the sample bias's
/// returned if it is wanted. One pass over d_y; none where neither is wanted.
at::Tensor epilogue_gradients(const at::Tensor& d_y, const Parameter& bias_C, bool wants_sample_bias);

}  // namespace smpo::tape

#endif  // SMPO_TAPE_EPILOGUE_H_

// The terms added to the result of a convolution or a linear layer, and the gradients of the biases: values without a
// tape.
#ifndef SMPO_TAPE_EPILOGUE_H_
#define SMPO_TAPE_EPILOGUE_H_

#include <ATen/core/Tensor.h>

#include "tape/weights.h"

namespace smpo::tape {

/// The terms to add. Each may be undefined.
struct Epilogue {
  at::Tensor bias_C = {};
  at::Tensor sample_bias_BC = {};
  at::Tensor residual = {};  // with the result's shape and layout
};

/// Whether the library that multiplies adds the bias. On the CPU it does so while it writes, and for f64 there is no
/// kernel; on a GPU a convolution's bias would be a separate pass, so the epilogue adds it.
bool library_adds_bias(const at::Tensor& x);

/// y plus all terms, in `dtype`: [B,C,H,W] in channels_last memory, or [...,C] dense. One pass over y, whose memory it
/// may reuse (y must have no other owner); no pass if there is nothing to add and the dtype is y's.
at::Tensor with_epilogue(at::Tensor y, const Epilogue& epilogue, at::ScalarType dtype);

/// Adds the bias's gradient to its buffer (unless it is frozen or absent) and returns the sample bias's if it is
/// wanted, from the gradient of such a result. One pass over d_y; no pass if neither is wanted.
at::Tensor epilogue_gradients(const at::Tensor& d_y, const Parameter& bias_C, bool wants_sample_bias);

}  // namespace smpo::tape

#endif  // SMPO_TAPE_EPILOGUE_H_

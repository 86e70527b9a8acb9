#include "tape/epilogue.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/sum.h>

#include <utility>

#include "kernels/epilogue.h"
#include "tape/kernel_call.h"

// Legend: B samples, P pixels or tokens of each, C channels.
namespace smpo::tape {
namespace {

using kernels::Families;

constexpr auto kChannelsLast = at::MemoryFormat::ChannelsLast;

struct Sizes {
  int64_t batch, pixels, channels;
};

Sizes sizes_of(const at::Tensor& y) {
  if (y.dim() == 4) return {y.size(0), y.size(2) * y.size(3), y.size(1)};
  const int64_t batch = y.dim() > 2 ? y.size(0) : 1, channels = y.size(-1);
  return {batch, batch * channels == 0 ? 0 : y.numel() / (batch * channels), channels};
}

/// Returns x in the memory format that the kernels read: [B,P,C].
at::Tensor laid_out(const at::Tensor& x) { return x.dim() == 4 ? x.contiguous(kChannelsLast) : x.contiguous(); }

/// Computes the f64 result with ATen, in the kernel's order.
at::Tensor added_by_aten(at::Tensor y, const Epilogue& epilogue) {
  const auto per_pixel = [&y](const at::Tensor& x) { return y.dim() == 4 ? x.unsqueeze(-1).unsqueeze(-1) : x; };
  if (epilogue.bias_C.defined()) y.add_(per_pixel(epilogue.bias_C));
  if (epilogue.sample_bias_BC.defined()) y.add_(per_pixel(epilogue.sample_bias_BC));
  if (epilogue.residual.defined()) y.add_(epilogue.residual);
  return y;
}

}  // namespace

bool library_adds_bias(const at::Tensor& x) { return !has_kernel(x) || kernels_of(x).of_the_cpu(); }

at::Tensor with_epilogue(at::Tensor y, const Epilogue& epilogue, at::ScalarType dtype) {
  const bool adds = epilogue.bias_C.defined() || epilogue.sample_bias_BC.defined() || epilogue.residual.defined();
  if (!adds) return y.to(dtype);
  if (!has_kernel(y)) return added_by_aten(std::move(y), epilogue).to(dtype);
  const auto [batch, pixels, channels] = sizes_of(y);
  y = laid_out(y);
  const at::Tensor sample_bias =
      epilogue.sample_bias_BC.defined() ? epilogue.sample_bias_BC.contiguous() : epilogue.sample_bias_BC;
  const at::Tensor residual = epilogue.residual.defined() ? laid_out(epilogue.residual) : epilogue.residual;
  at::Tensor sum =
      y.scalar_type() == dtype ? y : at::empty_like(y, y.options().dtype(dtype), at::MemoryFormat::Preserve);
  kernels_of(y)(&Families::epilogue, {.batch = batch,
                                      .pixels = pixels,
                                      .channels = channels,
                                      .dtype = dtype_of(sum),
                                      .x_dtype = dtype_of(y),
                                      .x_BPC = y.const_data_ptr(),
                                      .bias_C = data_of(epilogue.bias_C),
                                      .sample_bias_BC = data_of(sample_bias),
                                      .residual_BPC = data_of(residual),
                                      .y_BPC = sum.mutable_data_ptr()});
  return sum;
}

at::Tensor epilogue_gradients(const at::Tensor& d_y, const Parameter& bias_C, bool wants_sample_bias) {
  if (!bias_C.trainable() && !wants_sample_bias) return {};
  const auto [batch, pixels, channels] = sizes_of(d_y);
  if (!has_kernel(d_y)) {
    const at::Tensor d_y_BPC = (d_y.dim() == 4 ? d_y.permute({0, 2, 3, 1}) : d_y).reshape({batch, pixels, channels});
    const at::Tensor sums_BC = at::sum(d_y_BPC, {1});
    if (bias_C.trainable()) at::Tensor(bias_C.grad).add_(at::sum(sums_BC, {0}));
    return wants_sample_bias ? sums_BC : at::Tensor();
  }
  const at::Tensor dense = laid_out(d_y);
  at::Tensor d_sample_bias = wants_sample_bias ? at::empty({batch, channels}, d_y.options()) : at::Tensor();
  kernels::EpilogueBackwardArgs args{.batch = batch,
                                     .pixels = pixels,
                                     .channels = channels,
                                     .dtype = dtype_of(dense),
                                     .d_y_BPC = dense.const_data_ptr(),
                                     .d_sample_bias_BC = wants_sample_bias ? d_sample_bias.mutable_data_ptr() : nullptr,
                                     .d_bias_C = grad_of(bias_C)};
  const at::Tensor workspace = workspace_of(dense, kernels::epilogue_backward_workspace_bytes(args));
  args.workspace = workspace.mutable_data_ptr();
  kernels_of(dense)(&Families::epilogue_backward, args);
  return d_sample_bias;
}

}  // namespace smpo::tape

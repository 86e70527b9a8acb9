#include "tape/onednn.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>
#include <string_view>

#include "tape/matmul.h"
#include "tape/packed_weights.h"

// Legend: B batch, C channels in, D channels out, K kernel, H W image; of a product M rows, K terms, N columns.
namespace smpo::tape {
namespace {

/// Weights with fewer elements stay in the cache, and packing gains nothing (tools/decisions/0011-packed-weights.md).
constexpr int64_t kLeastOfLinear = 64 * 1024;
constexpr int64_t kLeastOfConvolution = 160 * 1024;
/// Products of fewer rows are left to ATen: oneDNN has other kernels for them, whose sums depend on the weight's
/// layout.
constexpr int64_t kLeastRows = 128;
/// The number of rows that a layout is chosen for. It serves all of them from kLeastRows on.
constexpr int64_t kPackedForRows = 256;

using Scalars = c10::List<std::optional<at::Scalar>>;
using OptionalTensor = std::optional<at::Tensor>;

// LibTorch registers these operators without a C++ header.
template <typename Signature>
c10::TypedOperatorHandle<Signature> find_operator(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

OptionalTensor optional(const at::Tensor& tensor) { return tensor.defined() ? OptionalTensor(tensor) : std::nullopt; }

at::Tensor pack_linear(const at::Tensor& weight_NK) {
  using Signature = at::Tensor(const at::Tensor&, std::optional<c10::SymInt>);
  static const auto pack = find_operator<Signature>("mkldnn::_reorder_linear_weight");
  return pack.call(weight_NK, c10::SymInt(kPackedForRows));
}

/// `weight_NK`: plain, in any strides, or packed.
at::Tensor linear_by_onednn(const at::Tensor& x_MK, const at::Tensor& weight_NK, const at::Tensor& bias_N) {
  using Signature = at::Tensor(const at::Tensor&, const at::Tensor&, const OptionalTensor&, std::string_view, Scalars,
                               std::optional<std::string_view>);
  static const auto linear = find_operator<Signature>("mkldnn::_linear_pointwise");
  return linear.call(x_MK, weight_NK, optional(bias_N), "none", Scalars(), std::nullopt);
}

at::Tensor pack_convolution(const at::Tensor& weight_DCKK, const Convolution& geometry, at::IntArrayRef x_shape) {
  using Signature = at::Tensor(const at::Tensor&, c10::SymIntArrayRef, c10::SymIntArrayRef, c10::SymIntArrayRef,
                               int64_t, c10::OptionalArrayRef<c10::SymInt>);
  static const auto pack = find_operator<Signature>("mkldnn::_reorder_convolution_weight");
  const c10::SymInt padding[] = {geometry.padding.before, geometry.padding.before};
  const c10::SymInt stride[] = {geometry.stride, geometry.stride};
  const c10::SymInt dilation[] = {1, 1};
  return pack.call(weight_DCKK, padding, stride, dilation, /*groups=*/1, c10::fromIntArrayRefSlow(x_shape));
}

/// `weight_DCKK`: plain or packed.
at::Tensor convolution_by_onednn(const at::Tensor& x_BCHW, const at::Tensor& weight_DCKK, const at::Tensor& bias_D,
                                 const Convolution& geometry) {
  using Signature =
      at::Tensor(const at::Tensor&, const at::Tensor&, const OptionalTensor&, c10::SymIntArrayRef, c10::SymIntArrayRef,
                 c10::SymIntArrayRef, int64_t, std::string_view, Scalars, std::optional<std::string_view>);
  static const auto convolution = find_operator<Signature>("mkldnn::_convolution_pointwise");
  const c10::SymInt padding[] = {geometry.padding.before, geometry.padding.before};
  const c10::SymInt stride[] = {geometry.stride, geometry.stride};
  const c10::SymInt dilation[] = {1, 1};
  return convolution.call(x_BCHW, weight_DCKK, optional(bias_D), padding, stride, dilation, /*groups=*/1, "none",
                          Scalars(), std::nullopt);
}

}  // namespace

bool prefers_onednn(const at::Tensor& weight) {
#if defined(__x86_64__)
  // On AVX2 MKL's products are the faster ones, and packing gains little.
  static const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
  if (!avx512 || !weight.is_cpu() || weight.scalar_type() != at::kFloat) return false;
  const bool linear = weight.dim() == 2 || weight.size(2) * weight.size(3) == 1;
  return weight.numel() >= (linear ? kLeastOfLinear : kLeastOfConvolution);
#else
  static_cast<void>(weight);
  return false;
#endif
}

at::Tensor layer_product(const at::Tensor& x_MK, const Parameter& weight, const at::Tensor& bias_N) {
  const at::Tensor weight_NK = weight_matrix(weight.value);
  if (!prefers_onednn(weight.value) || x_MK.size(0) < kLeastRows) return matmul_bias(x_MK, weight_NK, bias_N);
  at::Tensor packed;
  if (weight.packed != nullptr) {
    packed = weight.packed->get(weight.value, [&] { return pack_linear(weight_NK); });
  }
  return linear_by_onednn(x_MK, packed.defined() ? packed : weight_NK, bias_N);
}

at::Tensor layer_input_gradient(const at::Tensor& d_y_MN, const at::Tensor& weight_NK) {
  // Not packed: a backward pass uses each weight once, and of the transposed weight oneDNN reads a plain one as fast.
  if (prefers_onednn(weight_NK) && d_y_MN.size(0) >= kLeastRows) return linear_by_onednn(d_y_MN, weight_NK.t(), {});
  return product(d_y_MN, weight_NK);
}

at::Tensor layer_convolution(const at::Tensor& x_BCHW, const Parameter& weight, const at::Tensor& bias_D,
                             const Convolution& geometry) {
  const at::Tensor& weight_DCKK = weight.value;
  if (is_pointwise(weight_DCKK, geometry)) {
    return layer_product(pixels(widened(x_BCHW)), weight, bias_D)
        .view({x_BCHW.size(0), x_BCHW.size(2), x_BCHW.size(3), weight_DCKK.size(0)})
        .permute({0, 3, 1, 2});
  }
  if (!prefers_onednn(weight_DCKK)) {
    return convolve(x_BCHW, weight_DCKK, bias_D, geometry, forward_method(x_BCHW, weight_DCKK, geometry));
  }
  Convolution symmetric = geometry;
  const at::Tensor input_BCHW = library_input(x_BCHW, symmetric);
  at::Tensor packed;
  if (weight.packed != nullptr) {
    packed =
        weight.packed->get(weight_DCKK, [&] { return pack_convolution(weight_DCKK, symmetric, input_BCHW.sizes()); });
  }
  return convolution_by_onednn(input_BCHW, packed.defined() ? packed : weight_DCKK, bias_D, symmetric)
      .contiguous(at::MemoryFormat::ChannelsLast);
}

}  // namespace smpo::tape

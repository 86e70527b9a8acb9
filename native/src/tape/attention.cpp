#include <ATen/Context.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention_backward.h>
#include <ATen/ops/_scaled_dot_product_efficient_attention.h>
#include <ATen/ops/_scaled_dot_product_efficient_attention_backward.h>
#include <ATen/ops/_scaled_dot_product_flash_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_backward.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/constant_pad_nd.h>

#include <cmath>
#include <tuple>

#include "tape/check.h"
#include "tape/matmul.h"
#include "tape/ops.h"

// Legend: B batch, S T tokens, N heads, C = N * (width of a head).
namespace smpo::tape {
namespace {

/// [B,S,C] as [B,N,S,C/N], sharing the memory.
at::Tensor by_head(const at::Tensor& x_BSC, int64_t heads) {
  return x_BSC.reshape({x_BSC.size(0), x_BSC.size(1), heads, x_BSC.size(2) / heads}).transpose(1, 2);
}

/// The inverse of `by_head`; a view if the memory is [B,S,N,C/N].
at::Tensor joined(const at::Tensor& x_BNSC) {
  return x_BNSC.transpose(1, 2).reshape({x_BNSC.size(0), x_BNSC.size(2), x_BNSC.size(1) * x_BNSC.size(3)});
}

/// The library whose kernel runs. All of them keep the logarithms of the softmax's sums in place of the scores, and use
/// no atomics in their forward pass.
enum class Method {
  kCpu,        ///< LibTorch's, tiled for the cache.
  kEfficient,  ///< CUDA, f32 and whatever the others do not support.
  kFlash,      ///< CUDA, bf16: its backward adds in a fixed order in LibTorch's deterministic mode.
  kCudnn,      ///< CUDA, bf16: the fastest on sm_90, but its backward adds by atomics.
};

/// Every CUDA kernel supports heads whose width is a multiple of this. Others are padded with zeros, which change
/// nothing.
constexpr int64_t kWidthStep = 8;
constexpr int64_t kWidestFlash = 256, kWidestCudnn = 128;

Method method_for(const at::Tensor& q_BNSC) {
  if (!q_BNSC.is_cuda()) return Method::kCpu;
  const int64_t width = q_BNSC.size(3);
  if (q_BNSC.scalar_type() != at::kBFloat16 || width > kWidestFlash) return Method::kEfficient;
  const bool repeatable = at::globalContext().deterministicAlgorithms();
  return repeatable || width > kWidestCudnn ? Method::kFlash : Method::kCudnn;
}

/// The state that the forward kernel leaves for its backward. On CUDA, heads are padded to a supported width.
struct Attended {
  at::Tensor q_BNSC, k_BNTC, v_BNTC;
  Method method;
  double scale;
  at::Tensor out_BNSC = {};
  at::Tensor logsumexp_BNS = {};
  // Dropout state of the GPU kernels. There is no dropout, but their backward requires it.
  at::Tensor philox_seed = {}, philox_offset = {};
};

at::Tensor padded_heads(const at::Tensor& x_BNSC, int64_t width) {
  const int64_t missing = width - x_BNSC.size(3);
  return missing == 0 ? x_BNSC : at::constant_pad_nd(x_BNSC, {0, missing});
}

/// Without the padding.
at::Tensor own_width(const at::Tensor& x_BNSC, int64_t width) {
  return x_BNSC.size(3) == width ? x_BNSC : x_BNSC.narrow(3, 0, width);
}

Attended prepared(const at::Tensor& q_BNSC, const at::Tensor& k_BNTC, const at::Tensor& v_BNTC) {
  const int64_t own = q_BNSC.size(3);
  // The CPU kernel supports any width, and padding would cost a copy.
  const int64_t width = q_BNSC.is_cuda() ? (own + kWidthStep - 1) / kWidthStep * kWidthStep : own;
  Attended kept{.q_BNSC = padded_heads(q_BNSC, width),
                .k_BNTC = padded_heads(k_BNTC, width),
                .v_BNTC = padded_heads(v_BNTC, width),
                .method = Method::kCpu,
                .scale = 1.0 / std::sqrt(static_cast<double>(own))};
  kept.method = method_for(kept.q_BNSC);
  return kept;
}

void attend(Attended& kept, bool causal) {
  switch (kept.method) {
    case Method::kCpu:
      std::tie(kept.out_BNSC, kept.logsumexp_BNS) = at::_scaled_dot_product_flash_attention_for_cpu(
          widened(kept.q_BNSC), widened(kept.k_BNTC), widened(kept.v_BNTC), /*dropout_p=*/0.0, causal);
      kept.out_BNSC = kept.out_BNSC.to(kept.q_BNSC.scalar_type());
      return;
    case Method::kEfficient:
      std::tie(kept.out_BNSC, kept.logsumexp_BNS, kept.philox_seed, kept.philox_offset) =
          at::_scaled_dot_product_efficient_attention(kept.q_BNSC, kept.k_BNTC, kept.v_BNTC, /*attn_bias=*/{},
                                                      /*compute_log_sumexp=*/true, /*dropout_p=*/0.0, causal,
                                                      kept.scale);
      return;
    case Method::kFlash: {
      const auto result = at::_scaled_dot_product_flash_attention(kept.q_BNSC, kept.k_BNTC, kept.v_BNTC,
                                                                  /*dropout_p=*/0.0, causal,
                                                                  /*return_debug_mask=*/false, kept.scale);
      kept.out_BNSC = std::get<0>(result);
      kept.logsumexp_BNS = std::get<1>(result);
      kept.philox_seed = std::get<6>(result);
      kept.philox_offset = std::get<7>(result);
      return;
    }
    case Method::kCudnn: {
      const auto result = at::_scaled_dot_product_cudnn_attention(
          kept.q_BNSC, kept.k_BNTC, kept.v_BNTC, /*attn_bias=*/{}, /*compute_log_sumexp=*/true, /*dropout_p=*/0.0,
          causal, /*return_debug_mask=*/false, kept.scale);
      kept.out_BNSC = std::get<0>(result);
      kept.logsumexp_BNS = std::get<1>(result);
      kept.philox_seed = std::get<6>(result);
      kept.philox_offset = std::get<7>(result);
      return;
    }
  }
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attend_backward(const Attended& kept, const at::Tensor& d_out_BNSC,
                                                               bool causal) {
  // All samples have the same number of tokens, so the arguments for ragged batches stay empty.
  const at::Tensor none;
  const int64_t queries = kept.q_BNSC.size(2), keys = kept.k_BNTC.size(2);
  switch (kept.method) {
    case Method::kCpu:
      break;
    case Method::kEfficient: {
      auto [d_q, d_k, d_v, d_bias] = at::_scaled_dot_product_efficient_attention_backward(
          d_out_BNSC, kept.q_BNSC, kept.k_BNTC, kept.v_BNTC, /*attn_bias=*/{}, kept.out_BNSC, kept.logsumexp_BNS,
          kept.philox_seed, kept.philox_offset, /*dropout_p=*/0.0, {true, true, true, false}, causal, kept.scale);
      return {d_q, d_k, d_v};
    }
    case Method::kFlash:
      return at::_scaled_dot_product_flash_attention_backward(
          d_out_BNSC, kept.q_BNSC, kept.k_BNTC, kept.v_BNTC, kept.out_BNSC, kept.logsumexp_BNS, none, none, queries,
          keys, /*dropout_p=*/0.0, causal, kept.philox_seed, kept.philox_offset, kept.scale);
    case Method::kCudnn:
      return at::_scaled_dot_product_cudnn_attention_backward(
          d_out_BNSC, kept.q_BNSC, kept.k_BNTC, kept.v_BNTC, kept.out_BNSC, kept.logsumexp_BNS, kept.philox_seed,
          kept.philox_offset, /*attn_bias=*/none, none, none, queries, keys, /*dropout_p=*/0.0, causal, kept.scale);
  }
  const auto [d_q, d_k, d_v] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
      widened(d_out_BNSC), widened(kept.q_BNSC), widened(kept.k_BNTC), widened(kept.v_BNTC), widened(kept.out_BNSC),
      kept.logsumexp_BNS, /*dropout_p=*/0.0, causal);
  const auto dtype = d_out_BNSC.scalar_type();
  return {d_q.to(dtype), d_k.to(dtype), d_v.to(dtype)};
}

}  // namespace

Var attention(Tape& tape, const Var& q_BSC, const Var& k_BTC, const Var& v_BTC, const AttentionOptions& options) {
  const int64_t channels = q_BSC.size(-1);
  check(q_BSC.value.dim() == 3 && k_BTC.value.sizes() == v_BTC.value.sizes() && k_BTC.size(0) == q_BSC.size(0) &&
            k_BTC.size(2) == channels && channels % options.heads == 0,
        "attention", "", "q ", q_BSC.value.sizes(), ", k ", k_BTC.value.sizes(), ", v ", v_BTC.value.sizes(),
        ", heads ", options.heads);
  Attended kept = prepared(by_head(q_BSC.value, options.heads), by_head(k_BTC.value, options.heads),
                           by_head(v_BTC.value, options.heads));
  attend(kept, options.causal);
  const int64_t width = channels / options.heads;
  at::Tensor y = joined(own_width(kept.out_BNSC, width));
  if (!tape.tracks({q_BSC, k_BTC, v_BTC})) {
    return {std::move(y)};
  }
  return tape.record(std::move(y),
                     [kept = std::move(kept), q_node = q_BSC.node, k_node = k_BTC.node, v_node = v_BTC.node,
                      heads = options.heads, width, causal = options.causal](Tape& t, const at::Tensor& d_y) {
                       const at::Tensor d_out_BNSC = padded_heads(by_head(d_y, heads), kept.q_BNSC.size(3));
                       const auto [d_q, d_k, d_v] = attend_backward(kept, d_out_BNSC, causal);
                       t.accumulate(q_node, joined(own_width(d_q, width)));
                       t.accumulate(k_node, joined(own_width(d_k, width)));
                       t.accumulate(v_node, joined(own_width(d_v, width)));
                     });
}

}  // namespace smpo::tape

#include <ATen/ops/_scaled_dot_product_efficient_attention.h>
#include <ATen/ops/_scaled_dot_product_efficient_attention_backward.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>

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

/// And back; a view where the memory is [B,S,N,C/N].
at::Tensor joined(const at::Tensor& x_BNSC) {
  return x_BNSC.transpose(1, 2).reshape({x_BNSC.size(0), x_BNSC.size(2), x_BNSC.size(1) * x_BNSC.size(3)});
}

/// What the forward kernel leaves for its backward.
struct Attended {
  at::Tensor q_BNSC, k_BNTC, v_BNTC;
  at::Tensor out_BNSC = {};
  at::Tensor logsumexp_BNS = {};
  // The GPU kernel's dropout state. There is no dropout, but its backward wants them.
  at::Tensor philox_seed = {}, philox_offset = {};
};

void attend(Attended& kept, bool causal) {
  if (kept.q_BNSC.is_cuda()) {
    std::tie(kept.out_BNSC, kept.logsumexp_BNS, kept.philox_seed, kept.philox_offset) =
        at::_scaled_dot_product_efficient_attention(kept.q_BNSC, kept.k_BNTC, kept.v_BNTC, /*attn_bias=*/{},
                                                    /*compute_log_sumexp=*/true, /*dropout_p=*/0.0, causal);
  } else {
    std::tie(kept.out_BNSC, kept.logsumexp_BNS) = at::_scaled_dot_product_flash_attention_for_cpu(
        widened(kept.q_BNSC), widened(kept.k_BNTC), widened(kept.v_BNTC), /*dropout_p=*/0.0, causal);
    kept.out_BNSC = kept.out_BNSC.to(kept.q_BNSC.scalar_type());
  }
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attend_backward(const Attended& kept, const at::Tensor& d_out_BNSC,
                                                               bool causal) {
  if (kept.q_BNSC.is_cuda()) {
    auto [d_q, d_k, d_v, d_bias] = at::_scaled_dot_product_efficient_attention_backward(
        d_out_BNSC, kept.q_BNSC, kept.k_BNTC, kept.v_BNTC, /*attn_bias=*/{}, kept.out_BNSC, kept.logsumexp_BNS,
        kept.philox_seed, kept.philox_offset, /*dropout_p=*/0.0, {true, true, true, false}, causal);
    return {d_q, d_k, d_v};
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
  Attended kept{.q_BNSC = by_head(q_BSC.value, options.heads),
                .k_BNTC = by_head(k_BTC.value, options.heads),
                .v_BNTC = by_head(v_BTC.value, options.heads)};
  attend(kept, options.causal);
  at::Tensor y = joined(kept.out_BNSC);
  if (!tape.tracks({q_BSC, k_BTC, v_BTC})) {
    return {std::move(y)};
  }
  return tape.record(std::move(y),
                     [kept = std::move(kept), q_node = q_BSC.node, k_node = k_BTC.node, v_node = v_BTC.node,
                      heads = options.heads, causal = options.causal](Tape& t, const at::Tensor& d_y) {
                       const auto [d_q, d_k, d_v] = attend_backward(kept, by_head(d_y, heads), causal);
                       t.accumulate(q_node, joined(d_q));
                       t.accumulate(k_node, joined(d_k));
                       t.accumulate(v_node, joined(d_v));
                     });
}

}  // namespace smpo::tape

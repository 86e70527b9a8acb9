#include <ATen/ExpandUtils.h>
#include <ATen/ops/add.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/upsample_nearest2d.h>
#include <ATen/ops/upsample_nearest2d_backward.h>
#include <ATen/ops/zeros.h>

#include "tape/check.h"
#include "tape/ops.h"

namespace smpo::tape {
namespace {

constexpr auto kChannelsLast = at::MemoryFormat::ChannelsLast;

/// The gradient of a broadcast operand: summed over what was repeated.
at::Tensor summed_to(const at::Tensor& gradient, at::IntArrayRef shape) {
  return gradient.sizes() == shape ? gradient : at::sum_to(gradient, shape);
}

}  // namespace

Var add(Tape& tape, const Var& a, const Var& b) {
  at::Tensor y = at::add(a.value, b.value);
  if (!tape.tracks({a, b})) {
    return {std::move(y)};
  }
  return tape.record(std::move(y), [a_node = a.node, b_node = b.node, a_shape = a.value.sizes().vec(),
                                    b_shape = b.value.sizes().vec()](Tape& t, const at::Tensor& d_y) {
    if (a_node >= 0) {
      t.accumulate(a_node, summed_to(d_y, a_shape));
    }
    if (b_node >= 0) {
      t.accumulate(b_node, summed_to(d_y, b_shape));
    }
  });
}

Var multiply(Tape& tape, const Var& a, const Var& b) {
  at::Tensor y = at::mul(a.value, b.value);
  if (!tape.tracks({a, b})) {
    return {std::move(y)};
  }
  return tape.record(std::move(y), [a, b](Tape& t, const at::Tensor& d_y) {
    if (a.node >= 0) {
      t.accumulate(a, summed_to(at::mul(d_y, b.value), a.value.sizes()));
    }
    if (b.node >= 0) {
      t.accumulate(b, summed_to(at::mul(d_y, a.value), b.value.sizes()));
    }
  });
}

Var scale(Tape& tape, const Var& x, double factor) {
  at::Tensor y = at::mul(x.value, factor);
  if (!tape.tracks(x)) {
    return {std::move(y)};
  }
  return tape.record(std::move(y), [node = x.node, factor](Tape& t, const at::Tensor& d_y) {
    t.accumulate(node, at::mul(d_y, factor));
  });
}

Var concat(Tape& tape, const std::vector<Var>& parts, int64_t dim) {
  std::vector<at::Tensor> values;
  std::vector<std::pair<int32_t, int64_t>> nodes_and_lengths;
  bool tracked = false;
  for (const Var& part : parts) {
    tracked = tape.tracks(part) || tracked;
    values.push_back(part.value);
    nodes_and_lengths.emplace_back(part.node, part.size(dim));
  }
  at::Tensor y = at::cat(values, dim);
  if (!tracked) {
    return {std::move(y)};
  }
  return tape.record(
      std::move(y), [nodes_and_lengths = std::move(nodes_and_lengths), dim](Tape& t, const at::Tensor& d_y) {
        int64_t start = 0;
        for (const auto& [node, length] : nodes_and_lengths) {
          if (node >= 0) {
            // A copy of its own: a view would keep the gradients of all parts alive until the last is used.
            const at::Tensor part = d_y.narrow(dim, start, length);
            t.accumulate(node, part.clone(part.dim() == 4 ? kChannelsLast : at::MemoryFormat::Contiguous));
          }
          start += length;
        }
      });
}

Var slice(Tape& tape, const Var& x, int64_t dim, int64_t start, int64_t length) {
  at::Tensor y = x.value.narrow(dim, start, length);
  if (!tape.tracks(x)) {
    return {std::move(y)};
  }
  return tape.record(
      std::move(y), [node = x.node, shape = x.value.sizes().vec(), dim, start, length](Tape& t, const at::Tensor& d_y) {
        at::Tensor d_x = at::zeros(shape, d_y.options());
        d_x.narrow(dim, start, length).copy_(d_y);
        t.accumulate(node, std::move(d_x));
      });
}

Var select_tokens(Tape& tape, const Var& x_BSC, const at::Tensor& index_B) {
  const int64_t batch = x_BSC.size(0), length = x_BSC.size(1), channels = x_BSC.size(2);
  check(index_B.dim() == 1 && index_B.size(0) == batch, "select_tokens", "", "index ", index_B.sizes(), ", tokens ",
        x_BSC.value.sizes());
  const at::Tensor index_B1C = index_B.view({batch, 1, 1}).expand({batch, 1, channels});
  at::Tensor y = x_BSC.value.gather(1, index_B1C).squeeze(1);
  if (!tape.tracks(x_BSC)) {
    return {std::move(y)};
  }
  return tape.record(
      std::move(y), [node = x_BSC.node, index_B1C, length, batch, channels](Tape& t, const at::Tensor& d_y) {
        at::Tensor d_x = at::zeros({batch, length, channels}, d_y.options());
        d_x.scatter_(1, index_B1C, d_y.unsqueeze(1));  // One target per source: no sums, so no order of them.
        t.accumulate(node, std::move(d_x));
      });
}

Var reshape(Tape& tape, const Var& x, std::vector<int64_t> shape) {
  at::Tensor y = x.value.reshape(shape);
  if (!tape.tracks(x)) {
    return {std::move(y)};
  }
  return tape.record(std::move(y), [node = x.node, old = x.value.sizes().vec()](Tape& t, const at::Tensor& d_y) {
    t.accumulate(node, d_y.reshape(old));
  });
}

Var tokens(Tape& tape, const Var& x_BCHW) {
  const int64_t height = x_BCHW.size(2), width = x_BCHW.size(3);
  const auto to_tokens = [](const at::Tensor& p_BCHW) {
    return p_BCHW.contiguous(kChannelsLast)
        .permute({0, 2, 3, 1})
        .reshape({p_BCHW.size(0), p_BCHW.size(2) * p_BCHW.size(3), p_BCHW.size(1)});
  };
  at::Tensor y = to_tokens(x_BCHW.value);
  if (!tape.tracks(x_BCHW)) {
    return {std::move(y)};
  }
  const auto backward = [node = x_BCHW.node, height, width](Tape& t, const at::Tensor& d_y) {
    t.accumulate(node, d_y.reshape({d_y.size(0), height, width, d_y.size(2)}).permute({0, 3, 1, 2}));
  };
  if (x_BCHW.again == nullptr) {
    return tape.record(std::move(y), backward);
  }
  return tape.record_recomputed(
      std::move(y), [again = x_BCHW.again, to_tokens] { return to_tokens(again->value()); }, backward);
}

Var image(Tape& tape, const Var& x_BSC, int64_t height, int64_t width) {
  check(x_BSC.value.dim() == 3 && x_BSC.size(1) == height * width, "image", "", "tokens ", x_BSC.value.sizes(),
        ", height ", height, ", width ", width);
  at::Tensor y = x_BSC.value.reshape({x_BSC.size(0), height, width, x_BSC.size(2)}).permute({0, 3, 1, 2});
  if (!tape.tracks(x_BSC)) {
    return {std::move(y)};
  }
  return tape.record(std::move(y), [node = x_BSC.node](Tape& t, const at::Tensor& d_y) {
    t.accumulate(node, d_y.contiguous(kChannelsLast)
                           .permute({0, 2, 3, 1})
                           .reshape({d_y.size(0), d_y.size(2) * d_y.size(3), d_y.size(1)}));
  });
}

Var upsample_nearest(Tape& tape, const Var& x_BCHW, int64_t height, int64_t width) {
  at::Tensor y = at::upsample_nearest2d(x_BCHW.value.contiguous(kChannelsLast), {height, width});
  if (!tape.tracks(x_BCHW)) {
    return {std::move(y)};
  }
  return tape.record(std::move(y), [node = x_BCHW.node, shape = x_BCHW.value.sizes().vec(), height, width](
                                       Tape& t, const at::Tensor& d_y) {
    t.accumulate(node, at::upsample_nearest2d_backward(d_y.contiguous(kChannelsLast), {height, width}, shape));
  });
}

Var upsample_nearest_2x(Tape& tape, const Var& x_BCHW) {
  return upsample_nearest(tape, x_BCHW, 2 * x_BCHW.size(2), 2 * x_BCHW.size(3));
}

}  // namespace smpo::tape

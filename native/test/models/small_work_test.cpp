// Batches of small networks shared among threads: the bits of one thread, and failures that reach the caller.
#include "models/small_work.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <vector>

#include "models/golden_unet.h"
#include "support/threads.h"

namespace smpo::models::test {
namespace {

using smpo::test::Golden;
using smpo::test::ThreadScope;

TEST(EvaluateInShares, CoversEveryRowOnceInOrder) {
  for (const int threads : {1, 2, 3, 8}) {
    const ThreadScope scope(threads);
    for (const int64_t batch : {1, 5, 11, 12, 13, 100}) {
      std::atomic<int> calls = 0;
      const at::Tensor rows = evaluate_in_shares(batch, [&calls](int64_t first, int64_t count) {
        ++calls;
        return at::arange(first, first + count, at::kLong);
      });
      EXPECT_TRUE(at::equal(rows, at::arange(batch, at::kLong)));
      EXPECT_EQ(calls, std::clamp<int64_t>(batch / kLeastRowsOfShare, 1, threads));
    }
  }
}

TEST(EvaluateInShares, RunsUnderTheModesOfTheCaller) {
  const ThreadScope scope(2);
  const c10::InferenceMode mode;
  evaluate_in_shares(12, [](int64_t, int64_t) {
    EXPECT_TRUE(c10::InferenceMode::is_enabled());
    return at::arange(1);
  });
}

TEST(EvaluateInShares, AFailureReachesTheCaller) {
  for (const int threads : {1, 2}) {
    const ThreadScope scope(threads);
    EXPECT_THROW(evaluate_in_shares(12,
                                    [](int64_t first, int64_t) -> at::Tensor {
                                      if (first == 0) throw std::runtime_error("the first share");
                                      return at::arange(1);
                                    }),
                 std::runtime_error);
  }
}

TEST(SmallUNet, HasTheSameBitsWithASharedBatch) {
  const Golden golden{"unet", "sd1"};
  const auto unet = golden_unet(golden, {});
  UNet::Inputs inputs = golden_case(golden, 0).inputs;
  const auto repeated = [](const at::Tensor& value) {
    std::vector<at::Tensor> parts;
    for (int64_t rows = 0; rows < 2 * kLeastRowsOfShare; rows += value.size(0)) {
      parts.push_back(value.mul(1.0 / static_cast<double>(1 + rows)));
    }
    return at::cat(parts);
  };
  inputs.sample_BCHW = repeated(inputs.sample_BCHW.value);
  inputs.timesteps_B = repeated(inputs.timesteps_B);
  inputs.encoder_hidden_states_BTD = repeated(inputs.encoder_hidden_states_BTD.value);
  ASSERT_TRUE(unet->is_small(inputs));
  const c10::InferenceMode mode;
  const auto forward = [&](int threads) {
    const ThreadScope scope(threads);
    tape::Tape tape = tape::Tape::inference();
    return unet->forward(tape, inputs).value;
  };
  EXPECT_TRUE(at::equal(forward(2), forward(1)));
}

TEST(SmallUNet, IsSmallByItsWeightsAndTheImage) {
  const Golden golden{"unet", "sd1"};
  const auto unet = golden_unet(golden, {});
  UNet::Inputs inputs = golden_case(golden, 0).inputs;
  EXPECT_TRUE(unet->is_small(inputs));
  inputs.sample_BCHW = at::zeros({1, 4, 512, 512});
  EXPECT_FALSE(unet->is_small(inputs));
}

}  // namespace
}  // namespace smpo::models::test

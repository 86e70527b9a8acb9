// Our errors in bf16, compared with the errors of the peer's bf16.
#ifndef SMPO_TEST_MODELS_PEER_ERRORS_H_
#define SMPO_TEST_MODELS_PEER_ERRORS_H_

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>

#include "support/json.h"

namespace smpo::models::test {

/// Largest ratio of our bf16 error to the peer's, both measured against f32; a different order of roundings accounts
/// for it.
constexpr double kBf16Allowance = 1.2;

/// Our errors in bf16, by result. The error varies with the input, by a third for a result of 20 numbers, so it is the
/// root mean square over several inputs, as is the peer's (tools/golden).
class BFloat16Errors {
 public:
  void add(const std::string& result, double error) {
    Sum& sum = sums_[result];
    sum.squares += error * error;
    ++sum.count;
  }

  /// Expects each error to be at most kBf16Allowance times the peer's, and the same results on both sides. `peers`: the
  /// peer's errors by result; `draws`: number of inputs behind each.
  testing::AssertionResult within_allowance(const smpo::test::Json& peers, int64_t draws) const {
    auto verdict = testing::AssertionSuccess();
    if (peers.object().size() != sums_.size() || sums_.empty()) {
      verdict = testing::AssertionFailure() << sums_.size() << " results, the peer has " << peers.object().size();
    }
    for (const auto& [result, peer] : peers.object()) {
      const auto found = sums_.find(result);
      if (found == sums_.end() || found->second.count != draws) {
        verdict = testing::AssertionFailure() << result << ": expected " << draws << " inputs, got "
                                              << (found == sums_.end() ? 0 : found->second.count);
        continue;
      }
      const double ratio = std::sqrt(found->second.squares / draws) / peer.number();
      std::printf("%s: error in bf16 %.2f times the peer's\n", result.c_str(), ratio);
      if (!(ratio <= kBf16Allowance)) {
        verdict = testing::AssertionFailure() << result << ": its error in bf16 is " << ratio << " times the peer's";
      }
    }
    return verdict;
  }

 private:
  struct Sum {
    double squares = 0;
    int64_t count = 0;
  };
  std::map<std::string, Sum> sums_;
};

}  // namespace smpo::models::test

#endif  // SMPO_TEST_MODELS_PEER_ERRORS_H_

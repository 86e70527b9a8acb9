// Our errors in bf16 beside those of the peer's bf16.
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

/// Our error in bf16 against that of the peer's bf16, both against f32: another order of roundings may have this much
/// more.
constexpr double kBf16Allowance = 1.2;

/// Our errors in bf16, by result. One input is one draw of roundings, whose error varies, that of a result of 20
/// numbers by a third; so each result's is the root mean square over several inputs, as the peer's is (tools/golden).
class BFloat16Errors {
 public:
  void add(const std::string& result, double error) {
    Sum& sum = sums_[result];
    sum.squares += error * error;
    ++sum.count;
  }

  /// Each result's error at most kBf16Allowance times the peer's, and none missing on either side. `peers`: numbers by
  /// result; `draws`: how many inputs each is of.
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

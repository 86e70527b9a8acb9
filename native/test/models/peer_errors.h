// Our errors in bf16 beside those of the peer's bf16.
#ifndef SMPO_TEST_MODELS_PEER_ERRORS_H_
#define SMPO_TEST_MODELS_PEER_ERRORS_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace smpo::models::test {

/// Our error in bf16 against that of the peer's bf16, both against the peer's f32: another order of roundings may have
/// this much more.
constexpr double kBf16Allowance = 1.2;

/// Errors in bf16, ours over the peer's. Each is one draw of roundings, and that of a small output (a projection of 20
/// numbers) varies by a third from draw to draw on either side; so the allowance is for their mean square, and a single
/// one may be twice the peer's.
class BFloat16Errors {
 public:
  void add(double ours, double peers) {
    const double ratio = ours / peers;
    squares_ += ratio * ratio;
    largest_ = std::max(largest_, ratio);
    ++count_;
  }

  testing::AssertionResult within_allowance() const {
    const double ratio = std::sqrt(squares_ / count_);
    if (count_ > 0 && ratio <= kBf16Allowance && largest_ <= 2.0) return testing::AssertionSuccess();
    return testing::AssertionFailure() << "errors in bf16 are " << ratio << " times the peer's, the largest "
                                       << largest_;
  }

 private:
  double squares_ = 0, largest_ = 0;
  int count_ = 0;
};

}  // namespace smpo::models::test

#endif  // SMPO_TEST_MODELS_PEER_ERRORS_H_

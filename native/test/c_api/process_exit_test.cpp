// exit() while other threads are inside calls: the exit status is preserved and nothing crashes, however long calls
// take.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "c_api/border.h"
#include "c_api/tiny_unet.h"

namespace smpo::test {
namespace {

/// Starts a thread that evaluates a UNet repeatedly, waits a moment and exits. Never returns.
[[noreturn]] void exit_during_calls(int64_t batch, int64_t side, int milliseconds, int status) {
  std::atomic<bool> started{false};
  std::thread worker([&] {
    const auto config = cpu_config();
    smpo_session session = 0;
    auto error = sized<smpo_error>();
    if (smpo_session_open(&config, &session, &error) != SMPO_OK) std::_Exit(101);
    const smpo_model model = open_unet(session, f32_options());
    write_missing(session, model);
    auto large = tiny_inputs(session);
    large.sample = some_tensor(session, {batch, 4, side, side}, 100);
    large.timesteps = some_tensor(session, {batch}, 101);
    large.encoder_hidden_states = some_tensor(session, {batch, 7, 6}, 102);
    smpo_status result = SMPO_OK;
    // The first call of a function is not protected.
    for (int call = 0; result == SMPO_OK; ++call) {
      smpo_tensor output = 0;
      auto inputs = call == 0 ? tiny_inputs(session, batch) : large;
      if (call == 1) started = true;
      result = smpo_unet_forward(session, model, &inputs, &output, &error);
      if (result == SMPO_OK) result = smpo_tensor_close(session, output, &error);
    }
    // Refused because the process is ending; nothing else may stop the loop.
    if (result != SMPO_CANCELLED) std::_Exit(102);
  });
  worker.detach();
  while (!started.load()) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
  std::exit(status);
}

class ProcessExitDeathTest : public ::testing::Test {
 protected:
  // Each child is a separate program, not a fork with this process's threads.
  ProcessExitDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(ProcessExitDeathTest, ShortCallsEnd) {
  for (int round = 0; round < 4; ++round) {
    EXPECT_EXIT(exit_during_calls(2, 8, 100 + 37 * round, 3), ::testing::ExitedWithCode(3), "");
  }
}

TEST_F(ProcessExitDeathTest, ALongCallDoesNotHoldTheProcess) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EXIT(exit_during_calls(64, 128, 200, 4), ::testing::ExitedWithCode(4), "");
  // Bounds the wait; the evaluation itself takes minutes.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

}  // namespace
}  // namespace smpo::test

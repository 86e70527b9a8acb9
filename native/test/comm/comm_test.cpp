// Groups of two and three processes on this machine: sums, broadcasts, gathers, inconsistent groups, and ranks that
// die.
//
// Each rank is a separate process: this program, started with the name of a scenario. A rank reports through its exit
// code; 0 is success.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "c_api/border.h"
#include "c_api/tiny_unet.h"

extern char** environ;

namespace smpo::test {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// ---- one rank

struct Rank {
  int rank;
  int world_size;
  int port;
};

/// Ends the process with a message when the condition fails.
void check(bool condition, const std::string& message) {
  if (condition) return;
  std::fprintf(stderr, "%s\n", message.c_str());
  std::_Exit(1);
}

class Process {
 public:
  explicit Process(const Rank& rank) : rank_(rank) {
    config_ = sized<smpo_comm_config>();
    config_.rank = rank.rank;
    config_.world_size = rank.world_size;
    config_.port = rank.port;
    config_.timeout_millis = 20'000;
    config_.host = "127.0.0.1";
    config_.fingerprint = "same";
    auto session_config = cpu_config();
    session_config.threads = 1;
    expect(smpo_session_open(&session_config, &session, &error), SMPO_OK);
  }

  void expect(smpo_status status, smpo_status wanted) {
    check(status == wanted, "rank " + std::to_string(rank_.rank) + ": status " + std::to_string(status) +
                                ", expected " + std::to_string(wanted) + ": " + error.message);
  }
  void expect_message(const std::string& part) {
    check(std::string(error.message).find(part) != std::string::npos,
          "expected \"" + part + "\" in \"" + error.message + "\"");
  }
  void open() { expect(smpo_comm_open(session, &config_, &comm, &error), SMPO_OK); }
  void close() {
    expect(smpo_comm_barrier(session, comm, &error), SMPO_OK);
    expect(smpo_comm_close(session, comm, &error), SMPO_OK);
  }
  smpo_tensor tensor(const std::vector<float>& values) {
    const auto spec = spec_of(SMPO_F32, {static_cast<int64_t>(values.size())});
    smpo_tensor result = 0;
    expect(smpo_tensor_from_host(session, &spec, values.data(), values.size() * sizeof(float), &result, &error),
           SMPO_OK);
    return result;
  }
  std::vector<float> values(smpo_tensor tensor) {
    auto spec = sized<smpo_tensor_spec>();
    expect(smpo_tensor_describe(session, tensor, &spec, &error), SMPO_OK);
    std::vector<float> result(elements_of(spec));
    expect(smpo_tensor_to_host(session, tensor, &spec, result.data(), result.size() * sizeof(float), &error), SMPO_OK);
    return result;
  }

  Rank rank_;
  smpo_comm_config config_ = {};
  smpo_session session = 0;
  smpo_comm comm = 0;
  smpo_error error = sized<smpo_error>();
};

// ---- scenarios, by name

void collectives(Process& p) {
  p.open();
  const auto size = static_cast<float>(p.rank_.world_size), rank = static_cast<float>(p.rank_.rank);
  const smpo_tensor sum = p.tensor({1, rank, 10 * rank});
  p.expect(smpo_comm_all_reduce(p.session, p.comm, sum, &p.error), SMPO_OK);
  const float ranks = size * (size - 1) / 2;
  check(p.values(sum) == std::vector<float>({size, ranks, 10 * ranks}), "all_reduce");

  const smpo_tensor sent = p.tensor({rank, rank + 1});
  p.expect(smpo_comm_broadcast(p.session, p.comm, sent, 1, &p.error), SMPO_OK);
  check(p.values(sent) == std::vector<float>({1, 2}), "broadcast");
  p.expect(smpo_comm_broadcast(p.session, p.comm, sent, p.rank_.world_size, &p.error), SMPO_INVALID_ARGUMENT);

  smpo_tensor gathered = 99;
  const smpo_tensor own = p.tensor({rank, -rank});
  p.expect(smpo_comm_gather(p.session, p.comm, own, 0, &gathered, &p.error), SMPO_OK);
  if (p.rank_.rank == 0) {
    std::vector<float> all;
    for (int r = 0; r < p.rank_.world_size; ++r) {
      all.push_back(static_cast<float>(r));
      all.push_back(static_cast<float>(-r));
    }
    check(p.values(gathered) == all, "gather");
  } else {
    check(gathered == 0, "gather on another rank");
  }
  p.close();
}

/// Sums of numbers that depend on the order have the same bits when repeated.
void repeats(Process& p) {
  p.open();
  std::vector<float> numbers(100'003);
  for (size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = 1.0f / static_cast<float>(1 + (i * 7919 + static_cast<size_t>(p.rank_.rank) * 104'729) % 10'007);
  }
  std::vector<float> first;
  for (int round = 0; round < 3; ++round) {
    const smpo_tensor sum = p.tensor(numbers);
    p.expect(smpo_comm_all_reduce(p.session, p.comm, sum, &p.error), SMPO_OK);
    if (round == 0) first = p.values(sum);
    check(p.values(sum) == first, "another sum in round " + std::to_string(round));
  }
  // All ranks have the same bits.
  const smpo_tensor from_first = p.tensor(first);
  p.expect(smpo_comm_broadcast(p.session, p.comm, from_first, 0, &p.error), SMPO_OK);
  check(p.values(from_first) == first, "another sum than on rank 0");
  p.close();
}

void gradients(Process& p) {
  p.open();
  auto options = f32_options();
  options.trainable = 1;
  const smpo_model model = open_unet(p.session, options);
  write_missing(p.session, model);
  auto inputs = tiny_inputs(p.session);
  const smpo_tensor cotangent = some_tensor(p.session, {2, 4, 6, 5}, 7);
  smpo_tensor output = 0;
  p.expect(smpo_unet_backward(p.session, model, &inputs, cotangent, &output, nullptr, &p.error), SMPO_OK);
  const auto gradient = [&] {
    const smpo_parameter_info parameter = parameters_of(p.session, model)[0];
    const auto spec = host_spec_of(parameter);
    std::vector<float> values(elements_of(spec));
    p.expect(smpo_model_read_gradient(p.session, model, parameter.name, &spec, values.data(),
                                      values.size() * sizeof(float), &p.error),
             SMPO_OK);
    return values;
  };
  std::vector<float> wanted = gradient();
  // Two equal gradients: their sum is exact.
  for (float& value : wanted) value *= 2;
  p.expect(smpo_comm_all_reduce_gradients(p.session, p.comm, model, &p.error), SMPO_OK);
  check(gradient() == wanted, "the gradients are not the sum");
  p.close();
}

/// A model in training with its optimizer, and gradients that differ between ranks.
class Training {
 public:
  Training(Process& p, smpo_comm comm, int32_t precision) : p_(p) {
    auto options = f32_options();
    options.trainable = 1;
    options.precision = precision;
    model_ = open_unet(p.session, options);
    write_missing(p.session, model_);
    auto rule = adamw_options();
    rule.ema_decay = 0.9;
    rule.comm = comm;
    p.expect(smpo_optimizer_open(p.session, model_, &rule, &optimizer, &p.error), SMPO_OK);
  }

  void step(int number) {
    auto inputs = tiny_inputs(p_.session);
    const smpo_tensor cotangent = some_tensor(p_.session, {2, 4, 6, 5}, 7 + 10 * number + p_.rank_.rank);
    smpo_tensor output = 0;
    p_.expect(smpo_unet_backward(p_.session, model_, &inputs, cotangent, &output, nullptr, &p_.error), SMPO_OK);
    p_.expect(smpo_comm_all_reduce_gradients(p_.session, p_.comm, model_, &p_.error), SMPO_OK);
    auto outcome = sized<smpo_step_outcome>();
    p_.expect(smpo_optimizer_step(p_.session, optimizer, 1e-2, 1, &outcome, &p_.error), SMPO_OK);
    check(outcome.applied == 1, "the step was not applied");
    norms.push_back(outcome.grad_norm);
  }

  std::vector<std::vector<float>> weights() {
    std::vector<std::vector<float>> all;
    for (const smpo_parameter_info& parameter : parameters_of(p_.session, model_)) {
      const auto spec = test::host_spec_of(parameter);
      all.emplace_back(elements_of(spec));
      p_.expect(smpo_model_read_parameter(p_.session, model_, parameter.name, &spec, all.back().data(),
                                          all.back().size() * sizeof(float), &p_.error),
                SMPO_OK);
    }
    return all;
  }

  std::vector<float> read(const smpo_state_info& state) {
    const auto spec = host_spec_of(state);
    std::vector<float> values(elements_of(spec));
    p_.expect(smpo_optimizer_read_state(p_.session, optimizer, state.name, &spec, values.data(),
                                        values.size() * sizeof(float), &p_.error),
              SMPO_OK);
    return values;
  }

  void write(const smpo_state_info& state, const std::vector<float>& values) {
    const auto spec = host_spec_of(state);
    p_.expect(smpo_optimizer_write_state(p_.session, optimizer, state.name, &spec, values.data(),
                                         values.size() * sizeof(float), &p_.error),
              SMPO_OK);
  }

  static smpo_tensor_spec host_spec_of(const smpo_state_info& state) {
    auto spec = sized<smpo_tensor_spec>();
    spec.dtype = SMPO_F32;
    spec.rank = state.rank;
    std::copy(std::begin(state.shape), std::end(state.shape), std::begin(spec.shape));
    return spec;
  }

  smpo_optimizer_info info() {
    auto info = sized<smpo_optimizer_info>();
    p_.expect(smpo_optimizer_describe(p_.session, optimizer, &info, &p_.error), SMPO_OK);
    return info;
  }

  smpo_state_info state(uint32_t index) {
    auto state = sized<smpo_state_info>();
    p_.expect(smpo_optimizer_state(p_.session, optimizer, index, &state, &p_.error), SMPO_OK);
    return state;
  }

  std::vector<std::vector<float>> states() {
    std::vector<std::vector<float>> all;
    for (uint32_t i = 0; i < info().state_count; ++i) all.push_back(read(state(i)));
    return all;
  }

  Process& p_;
  smpo_model model_ = 0;
  smpo_optimizer optimizer = 0;
  std::vector<double> norms;
};

/// An optimizer whose state the ranks share has the bits of one that is whole, also after its state went through a
/// checkpoint.
void shares_state(Process& p, int32_t precision) {
  p.open();
  Training whole(p, 0, precision), shared(p, p.comm, precision);
  for (int number = 0; number < 3; ++number) {
    whole.step(number);
    shared.step(number);
  }
  check(shared.norms == whole.norms, "another norm");
  check(shared.weights() == whole.weights(), "other weights");
  const std::vector<std::vector<float>> states = whole.states();
  check(shared.states() == states, "another state");
  const uint64_t bytes = whole.info().bytes, size = static_cast<uint64_t>(p.rank_.world_size);
  check(shared.info().bytes >= bytes / size && shared.info().bytes < bytes / size + 3 * 4 * 64 * size,
        "this process keeps " + std::to_string(shared.info().bytes) + " of " + std::to_string(bytes) + " bytes");
  // Every rank takes its part of a whole state.
  for (uint32_t i = 0; i < shared.info().state_count; ++i) {
    shared.write(shared.state(i), std::vector<float>(states[i].size(), 1));
  }
  for (uint32_t i = 0; i < shared.info().state_count; ++i) shared.write(shared.state(i), states[i]);
  whole.step(3);
  shared.step(3);
  check(shared.weights() == whole.weights(), "other weights after a checkpoint");
  check(shared.states() == whole.states(), "another state after a checkpoint");
  // EMA weights of a whole.
  std::vector<std::vector<float>> averages;
  for (Training* each : {&whole, &shared}) {
    auto options = f32_options();
    const smpo_model target = open_unet(p.session, options);
    write_missing(p.session, target);
    p.expect(smpo_optimizer_copy_ema(p.session, each->optimizer, target, &p.error), SMPO_OK);
    const smpo_parameter_info parameter = parameters_of(p.session, target)[0];
    const auto spec = host_spec_of(parameter);
    averages.emplace_back(elements_of(spec));
    p.expect(smpo_model_read_parameter(p.session, target, parameter.name, &spec, averages.back().data(),
                                       averages.back().size() * sizeof(float), &p.error),
             SMPO_OK);
  }
  check(averages[0] == averages[1], "other EMA weights");
  p.close();
}

void shares_state_f32(Process& p) { shares_state(p, SMPO_F32); }
void shares_state_bf16(Process& p) { shares_state(p, SMPO_BF16); }

/// Adafactor's statistics are of whole matrices.
void shares_adafactor(Process& p) {
  p.open();
  auto options = f32_options();
  options.trainable = 1;
  const smpo_model model = open_unet(p.session, options);
  write_missing(p.session, model);
  auto rule = adafactor_options();
  rule.comm = p.comm;
  smpo_optimizer optimizer = 0;
  p.expect(smpo_optimizer_open(p.session, model, &rule, &optimizer, &p.error), SMPO_INVALID_ARGUMENT);
  p.expect_message("options.comm: expected 0 for Adafactor");
  p.close();
}

/// The last rank ends between two sums.
void killed(Process& p) {
  p.config_.timeout_millis = 8000;
  p.open();
  const smpo_tensor sum = p.tensor({1});
  p.expect(smpo_comm_all_reduce(p.session, p.comm, sum, &p.error), SMPO_OK);
  if (p.rank_.rank == p.rank_.world_size - 1) kill(getpid(), SIGKILL);
  const auto start = Clock::now();
  p.expect(smpo_comm_all_reduce(p.session, p.comm, sum, &p.error), SMPO_PEER_LOST);
  p.expect_message("all_reduce (rank " + std::to_string(p.rank_.rank));
  p.expect_message("lost rank " + std::to_string(p.rank_.world_size - 1) + ", which has ended or hangs");
  check(seconds_since(start) < 20, "the loss took too long to notice");
}

/// Rank 0, which holds the store, ends between two sums.
void first_killed(Process& p) {
  p.config_.timeout_millis = 8000;
  p.open();
  const smpo_tensor sum = p.tensor({1});
  p.expect(smpo_comm_all_reduce(p.session, p.comm, sum, &p.error), SMPO_OK);
  if (p.rank_.rank == 0) kill(getpid(), SIGKILL);
  p.expect(smpo_comm_all_reduce(p.session, p.comm, sum, &p.error), SMPO_PEER_LOST);
  p.expect_message("lost rank 0, which has ended or hangs");
}

/// A second group on the store of the first.
void two_groups(Process& p) {
  p.open();
  smpo_comm_config other = p.config_;
  other.prefix = "other";
  other.store_exists = 1;
  other.fingerprint = "of its own";
  smpo_comm second = 0;
  p.expect(smpo_comm_open(p.session, &other, &second, &p.error), SMPO_OK);
  const smpo_tensor sum = p.tensor({1});
  p.expect(smpo_comm_all_reduce(p.session, p.comm, sum, &p.error), SMPO_OK);
  p.expect(smpo_comm_all_reduce(p.session, second, sum, &p.error), SMPO_OK);
  const auto size = static_cast<float>(p.rank_.world_size);
  check(p.values(sum) == std::vector<float>({size * size}), "the sum of sums");
  p.expect(smpo_comm_barrier(p.session, second, &p.error), SMPO_OK);
  p.expect(smpo_comm_close(p.session, second, &p.error), SMPO_OK);
  p.close();
}

/// Rank 1 does not come; the others give up after the time for joining.
void late(Process& p) {
  p.config_.timeout_millis = 60'000;
  p.config_.join_millis = 1500;
  if (p.rank_.rank == 1) std::_Exit(0);
  const auto start = Clock::now();
  p.expect(smpo_comm_open(p.session, &p.config_, &p.comm, &p.error), SMPO_PEER_LOST);
  p.expect_message("no sign of rank 1 within 1500 ms");
  check(seconds_since(start) < 10, "the time for joining was not kept");
}

/// The last rank hangs.
void stopped(Process& p) {
  p.config_.timeout_millis = 2000;
  p.open();
  if (p.rank_.rank == p.rank_.world_size - 1) {
    std::this_thread::sleep_for(std::chrono::seconds(15));
    std::_Exit(0);
  }
  const smpo_tensor sum = p.tensor({1});
  const auto start = Clock::now();
  p.expect(smpo_comm_all_reduce(p.session, p.comm, sum, &p.error), SMPO_PEER_LOST);
  check(seconds_since(start) < 12, "the timeout was not kept");
}

void missing(Process& p) {
  p.config_.world_size += 1;
  p.config_.timeout_millis = 2000;
  p.expect(smpo_comm_open(p.session, &p.config_, &p.comm, &p.error), SMPO_PEER_LOST);
  if (p.rank_.rank == 0) p.expect_message("no sign of rank " + std::to_string(p.rank_.world_size) + " within 2000 ms");
}

/// Rank 2 also calls itself rank 1.
void same_rank(Process& p) {
  p.config_.timeout_millis = 8000;
  if (p.rank_.rank == 2) p.config_.rank = 1;
  const smpo_status status = smpo_comm_open(p.session, &p.config_, &p.comm, &p.error);
  // The other ranks may fail because rank 0 ends.
  check(status == SMPO_INVALID_ARGUMENT || (p.rank_.rank != 0 && status == SMPO_PEER_LOST), p.error.message);
  if (p.rank_.rank == 0) p.expect_message("expected a rank of its own for every process, got 1 for two of them");
}

void other_fingerprint(Process& p) {
  p.config_.timeout_millis = 8000;
  if (p.rank_.rank == 1) p.config_.fingerprint = "another";
  p.expect(smpo_comm_open(p.session, &p.config_, &p.comm, &p.error), SMPO_INVALID_ARGUMENT);
  p.expect_message("config.fingerprint: expected same as on rank 0, got another on rank 1");
}

const std::map<std::string, std::function<void(Process&)>>& scenarios() {
  static const std::map<std::string, std::function<void(Process&)>> all = {{"collectives", collectives},
                                                                           {"repeats", repeats},
                                                                           {"gradients", gradients},
                                                                           {"shares_state_f32", shares_state_f32},
                                                                           {"shares_state_bf16", shares_state_bf16},
                                                                           {"shares_adafactor", shares_adafactor},
                                                                           {"killed", killed},
                                                                           {"stopped", stopped},
                                                                           {"missing", missing},
                                                                           {"first_killed", first_killed},
                                                                           {"two_groups", two_groups},
                                                                           {"late", late},
                                                                           {"same_rank", same_rank},
                                                                           {"other_fingerprint", other_fingerprint}};
  return all;
}

// ---- the processes

int free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  EXPECT_EQ(bind(socket, reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length), 0);
  ::close(socket);
  return ntohs(address.sin_port);
}

pid_t start(const std::string& scenario, int rank, int world_size, int port) {
  const std::string argument = "--scenario=" + scenario + "," + std::to_string(rank) + "," +
                               std::to_string(world_size) + "," + std::to_string(port);
  std::string program = "/proc/self/exe", copy = argument;
  char* arguments[] = {program.data(), copy.data(), nullptr};
  pid_t child = 0;
  EXPECT_EQ(posix_spawn(&child, program.c_str(), nullptr, nullptr, arguments, environ), 0);
  return child;
}

/// Exit codes by rank; the negative signal number for a process that a signal ended.
std::vector<int> run(const std::string& scenario, int world_size) {
  const int port = free_port();
  std::vector<pid_t> children;
  for (int rank = 0; rank < world_size; ++rank) children.push_back(start(scenario, rank, world_size, port));
  std::vector<int> codes;
  for (const pid_t child : children) {
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    codes.push_back(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
  }
  return codes;
}

TEST(Comm, TwoAndThreeProcessesReduceBroadcastAndGather) {
  EXPECT_EQ(run("collectives", 2), std::vector<int>(2, 0));
  EXPECT_EQ(run("collectives", 3), std::vector<int>(3, 0));
}

TEST(Comm, SumsHaveTheSameBitsEveryTimeAndOnEveryRank) {
  EXPECT_EQ(run("repeats", 2), std::vector<int>(2, 0));
  EXPECT_EQ(run("repeats", 3), std::vector<int>(3, 0));
}

TEST(Comm, GradientsAreSummed) { EXPECT_EQ(run("gradients", 2), std::vector<int>(2, 0)); }

TEST(Comm, TheSharedStateOfAnOptimizerHasTheBitsOfAWholeOne) {
  EXPECT_EQ(run("shares_state_f32", 2), std::vector<int>(2, 0));
  EXPECT_EQ(run("shares_state_f32", 3), std::vector<int>(3, 0));
  EXPECT_EQ(run("shares_state_bf16", 2), std::vector<int>(2, 0));
}

TEST(Comm, AdafactorIsNotShared) { EXPECT_EQ(run("shares_adafactor", 2), std::vector<int>(2, 0)); }

TEST(Comm, AProcessThatEndsIsDetected) {
  EXPECT_EQ(run("killed", 2), (std::vector<int>{0, -SIGKILL}));
  EXPECT_EQ(run("killed", 3), (std::vector<int>{0, 0, -SIGKILL}));
}

TEST(Comm, TheLossOfRankZeroIsDetected) {
  EXPECT_EQ(run("first_killed", 2), (std::vector<int>{-SIGKILL, 0}));
  EXPECT_EQ(run("first_killed", 3), (std::vector<int>{-SIGKILL, 0, 0}));
}

TEST(Comm, GroupsShareAStore) { EXPECT_EQ(run("two_groups", 2), std::vector<int>(2, 0)); }

TEST(Comm, JoiningHasATimeOfItsOwn) { EXPECT_EQ(run("late", 2), std::vector<int>(2, 0)); }

TEST(Comm, AProcessThatHangsIsDetectedWithinTheTimeout) { EXPECT_EQ(run("stopped", 2), std::vector<int>(2, 0)); }

TEST(Comm, AMissingProcessIsNamed) { EXPECT_EQ(run("missing", 2), std::vector<int>(2, 0)); }

TEST(Comm, TwoProcessesWithOneRankAreRefused) { EXPECT_EQ(run("same_rank", 3), std::vector<int>(3, 0)); }

TEST(Comm, ProcessesThatDisagreeAreRefused) { EXPECT_EQ(run("other_fingerprint", 2), std::vector<int>(2, 0)); }

class CommTest : public BorderTest {};

TEST_F(CommTest, AnOccupiedPortIsRefused) {
  auto group = sized<smpo_comm_config>();
  group.world_size = 1;
  group.timeout_millis = 5000;
  group.host = "127.0.0.1";
  group.fingerprint = "";
  smpo_comm first = 0, second = 0;
  group.port = free_port();
  EXPECT_OK(smpo_comm_open(session, &group, &first, &error));
  EXPECT_EQ(smpo_comm_open(session, &group, &second, &error), SMPO_UNSUPPORTED);
  EXPECT_NE(std::string(error.message).find("cannot listen"), std::string::npos) << error.message;
  EXPECT_OK(smpo_comm_barrier(session, first, &error));
  EXPECT_OK(smpo_comm_close(session, first, &error));
}

}  // namespace

/// Runs one rank if the program was started as one; returns whether it was.
bool run_scenario(int count, char** arguments, int* code) {
  const std::string prefix = "--scenario=";
  if (count != 2 || !std::string(arguments[1]).starts_with(prefix)) return false;
  const std::string text = std::string(arguments[1]).substr(prefix.size());
  const size_t comma = text.find(',');
  Rank rank{};
  std::sscanf(text.c_str() + comma, ",%d,%d,%d", &rank.rank, &rank.world_size, &rank.port);
  Process process(rank);
  scenarios().at(text.substr(0, comma))(process);
  *code = 0;
  return true;
}

}  // namespace smpo::test

int main(int count, char** arguments) {
  int code = 0;
  if (smpo::test::run_scenario(count, arguments, &code)) std::_Exit(code);
  testing::InitGoogleTest(&count, arguments);
  return RUN_ALL_TESTS();
}

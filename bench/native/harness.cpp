#include "harness.h"

#include <omp.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <utility>

namespace smpo::bench {
namespace {

/// Wall time, or CPU time of this process's threads.
double now_ns(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

double nanoseconds(clockid_t clock, const std::function<void()>& run, int64_t times) {
  const double start = now_ns(clock);
  for (int64_t i = 0; i < times; ++i) run();
  return (now_ns(clock) - start) / static_cast<double>(times);
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

/// Memory, written once by the threads that will use it so that its pages exist.
class Buffer {
 public:
  explicit Buffer(size_t bytes) : bytes_(bytes), data_(new unsigned char[bytes]) {
    unsigned char* data = data_.get();
    const auto count = static_cast<int64_t>(bytes_);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; ++i) data[i] = static_cast<unsigned char>(i);
  }
  unsigned char* data() const { return data_.get(); }
  size_t bytes() const { return bytes_; }

 private:
  size_t bytes_;
  std::unique_ptr<unsigned char[]> data_;
};

/// Each thread copies one slice: the C library picks its best loop for the size, with streaming stores for large ones.
class Copy {
 public:
  /// `moved` bytes in all: half read, half written.
  explicit Copy(double moved) : from_(half(moved)), to_(half(moved)) {}

  void operator()() const {
#pragma omp parallel
    {
      const auto threads = static_cast<size_t>(omp_get_num_threads());
      const auto thread = static_cast<size_t>(omp_get_thread_num());
      const size_t begin = from_.bytes() * thread / threads;
      const size_t end = from_.bytes() * (thread + 1) / threads;
      std::memcpy(to_.data() + begin, from_.data() + begin, end - begin);
    }
  }

  double moved() const { return 2.0 * static_cast<double>(from_.bytes()); }

 private:
  static size_t half(double moved) {
    constexpr double kLeast = 64 * 1024;
    constexpr double kMost = 512.0 * 1024 * 1024;
    return static_cast<size_t>(std::clamp(moved / 2, kLeast, kMost));
  }

  Buffer from_;
  Buffer to_;
};

// A guard takes many short turns, so that some run undisturbed even on a busy machine.
constexpr int kGuardTurns = 8;

constexpr int64_t kArithmeticSteps = 100000;

/// A fixed piece of integer and floating arithmetic on every thread; no memory. The multiplications form chains, so
/// that no compiler can shorten the loop.
void arithmetic() {
  double sink = 0;
#pragma omp parallel reduction(+ : sink)
  {
    uint64_t a = 0x9e3779b97f4a7c15u + static_cast<uint64_t>(omp_get_thread_num());
    uint64_t b = a ^ 0xbf58476d1ce4e5b9u;
    float x = 1.0f;
    float y = 2.0f;
    for (int64_t i = 0; i < kArithmeticSteps; ++i) {
      a = (a ^ (a >> 29)) * 0xbf58476d1ce4e5b9u;
      b = (b ^ (b >> 32)) * 0x94d049bb133111ebu;
      x = x * 0.999f + 0.5f;
      y = y * 0.998f + 0.25f;
    }
    sink += static_cast<double>(a ^ b) + static_cast<double>(x + y);
  }
  volatile double kept = sink;
  static_cast<void>(kept);
}

std::string cpu_model() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

/// A JSON string; the names in this program hold nothing else that needs escaping.
std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + '"';
}

struct Timing {
  std::string name;
  std::function<void()> run;
  int64_t times = 1;
  std::vector<double> turns;

  double median() const { return quantile(turns, 0.5); }
};

}  // namespace

std::vector<Family>& families() {
  static std::vector<Family> all;
  return all;
}

Session::Session(const Options& options) : options_(options) {
  // A guard measures inner loops. With one thread, the ratio does not include wake-up delays of a busy machine.
  if (options_.guard) {
    if (options_.threads == 0) options_.threads = 1;
    options_.repeats *= kGuardTurns;
    options_.turn_seconds /= kGuardTurns;
  }
  if (options_.threads > 0) omp_set_num_threads(options_.threads);
  if (options_.guard) return;  // shares of the large copy are not printed
  const Copy copy(1024.0 * 1024 * 1024);
  std::vector<double> turns;
  copy();
  for (int i = 0; i < 9; ++i) turns.push_back(nanoseconds(CLOCK_MONOTONIC, [&] { copy(); }, 1));
  copy_bytes_per_ns_ = copy.moved() / quantile(turns, 0.5);
  std::fprintf(stderr, "%s, %d threads, copy %.1f GB/s (read + write)\n", cpu_model().c_str(), omp_get_max_threads(),
               copy_bytes_per_ns_);
  std::fprintf(stderr, "%-24s %-18s %-14s %-10s %12s %9s %9s %9s %8s\n", "family", "contender", "size", "dtype", "us",
               "ns/item", "GB/s", "of copy", "spread");
}

void Session::measure(const Case& c) {
  if (options_.guard && c.guarded.empty()) return;
  if (c.disagreement) {
    if (const std::optional<std::string> problem = c.disagreement()) {
      throw Disagreement{c.family + " " + c.size + " " + c.dtype + ": " + *problem};
    }
  }

  // The calibration of a memory-bound case moves as many bytes, so that both use the same cache level.
  std::unique_ptr<Copy> copy;
  std::vector<Timing> timings(1);
  timings[0].name = "calibration";
  double calibration_units = 0;
  if (c.bound == Bound::kMemory) {
    copy = std::make_unique<Copy>(c.bytes);
    timings[0].run = [&copy] { (*copy)(); };
    calibration_units = copy->moved();
  } else {
    timings[0].run = arithmetic;
    calibration_units = static_cast<double>(kArithmeticSteps);
  }
  for (const Contender& contender : c.contenders) {
    if (options_.guard && contender.name != c.guarded) continue;
    timings.push_back({contender.name, contender.run, 1, {}});
  }

  // A guard uses the CPU time of its one thread, which excludes other processes. With several threads it would include
  // their waiting.
  const clockid_t clock = options_.guard && omp_get_max_threads() == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
  for (Timing& timing : timings) {
    timing.run();
    const double once = nanoseconds(clock, timing.run, 1);
    timing.times = std::max<int64_t>(1, static_cast<int64_t>(options_.turn_seconds * 1e9 / once));
  }
  for (int turn = 0; turn < options_.repeats; ++turn) {
    for (Timing& timing : timings) timing.turns.push_back(nanoseconds(clock, timing.run, timing.times));
  }

  const double units = c.bound == Bound::kMemory ? c.bytes : c.items;
  for (size_t i = 1; i < timings.size(); ++i) {
    const Timing& timing = timings[i];
    // Ratios turn by turn, because a disturbance slows both neighbours.
    std::vector<double> ratios;
    for (size_t turn = 0; turn < timing.turns.size(); ++turn) {
      ratios.push_back(timing.turns[turn] / units / (timings[0].turns[turn] / calibration_units));
    }
    double ratio = quantile(ratios, 0.5);
    if (options_.guard) {
      // The fastest tenth of each, because other load can only add time.
      ratio = quantile(timing.turns, 0.1) / units / (quantile(timings[0].turns, 0.1) / calibration_units);
      std::printf("{\"guard\":%s,\"ns\":%.1f,\"ratio\":%.4f,\"calibration\":%s,\"threads\":%d,\"cpu\":%s}\n",
                  quoted(c.family + "/" + c.size + "/" + c.dtype + "/" + timing.name).c_str(),
                  quantile(timing.turns, 0.1), ratio, c.bound == Bound::kMemory ? "\"copy\"" : "\"arithmetic\"",
                  omp_get_max_threads(), quoted(cpu_model()).c_str());
      std::fflush(stdout);
      continue;
    }
    const double ns = timing.median();
    const double bandwidth = c.bytes / ns;
    const double share = c.bound == Bound::kMemory ? 1 / ratio : bandwidth / copy_bytes_per_ns_;
    const double spread = (quantile(timing.turns, 0.9) - quantile(timing.turns, 0.1)) / ns;
    std::printf(
        "{\"bench\":%s,\"contender\":%s,\"size\":%s,\"dtype\":%s,\"threads\":%d,\"ns\":%.1f,\"ns_per_item\":%.4f,"
        "\"bytes\":%.0f,\"gb_per_s\":%.3f,\"share_of_copy\":%.3f,\"ratio_to_calibration\":%.4f,\"spread\":%.3f,"
        "\"repeats\":%d,\"cpu\":%s}\n",
        quoted(c.family).c_str(), quoted(timing.name).c_str(), quoted(c.size).c_str(), quoted(c.dtype).c_str(),
        omp_get_max_threads(), ns, ns / c.items, c.bytes, bandwidth, share, ratio, spread, options_.repeats,
        quoted(cpu_model()).c_str());
    std::fflush(stdout);
    std::fprintf(stderr, "%-24s %-18s %-14s %-10s %12.1f %9.3f %9.2f %9.2f %7.0f%%\n", c.family.c_str(),
                 timing.name.c_str(), c.size.c_str(), c.dtype.c_str(), ns / 1e3, ns / c.items, bandwidth, share,
                 100 * spread);
  }
}

std::optional<std::string> first_difference(const float* a, const float* b, int64_t count, double relative,
                                            double absolute) {
  for (int64_t i = 0; i < count; ++i) {
    const double x = static_cast<double>(a[i]);
    const double y = static_cast<double>(b[i]);
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    if (std::abs(x - y) <= relative * std::abs(y) + absolute) continue;
    char text[128];
    std::snprintf(text, sizeof(text), "[%lld]: %.9g against %.9g", static_cast<long long>(i), x, y);
    return text;
  }
  return std::nullopt;
}

std::vector<float> uniform_floats(int64_t count, uint32_t seed) {
  std::vector<float> values(static_cast<size_t>(count));
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; ++i) {
    uint64_t bits = (static_cast<uint64_t>(i) + 1) * 0x9e3779b97f4a7c15u + seed;
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
    values[static_cast<size_t>(i)] = static_cast<float>(static_cast<int32_t>(bits >> 32)) * 0x1p-31f;
  }
  return values;
}

}  // namespace smpo::bench

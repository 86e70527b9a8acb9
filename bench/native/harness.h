// Harness of the native benches: one program, one file per family, results as JSON lines on stdout and a table on
// stderr.
//
// Every case is measured in one process beside a calibration that does nothing but move memory or do arithmetic, in
// turns (calibration, contender, contender, calibration, ...), so that a noisy or throttled machine slows both. Results
// are the median time and the median ratio to the calibration. `share_of_copy` compares a memory-bound case with a copy
// of as many bytes (1 GiB at most) in the same turns, and other cases with a large copy at the start. The contenders
// must agree before anything is timed; otherwise the program reports the difference and exits with 1.
#ifndef SMPO_BENCH_HARNESS_H_
#define SMPO_BENCH_HARNESS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace smpo::bench {

/// The resource that limits a case; the calibration uses the same.
enum class Bound { kMemory, kCompute };

struct Contender {
  std::string name;  // "cpu", "reference", "cpu/avx2"
  std::function<void()> run;
};

struct Case {
  std::string family;  // "adamw"
  std::string size;    // for display: "100M", "2x2x65536"
  std::string dtype;   // "f32+bf16"
  double bytes = 0;    // read and written by one run, each buffer counted once per pass the algorithm needs
  double items = 0;    // elements that one run produces or consumes
  Bound bound = Bound::kMemory;

  /// Compares the contenders: returns nothing, or the difference. Runs once before any timing and may use a smaller
  /// size.
  std::function<std::optional<std::string>()> disagreement;

  std::vector<Contender> contenders;

  /// Name of the hot path that `--guard` checks; empty: the case is not guarded.
  std::string guarded;
};

struct Options {
  std::vector<std::string> families;  // empty: all
  int threads = 0;                    // 0: OpenMP's default
  int repeats = 15;                   // turns per case
  double turn_seconds = 0.05;         // a turn repeats a short run until it lasts this long
  bool guard = false;                 // only guarded cases; prints ratios
};

class Session {
 public:
  explicit Session(const Options& options);

  bool guard() const { return options_.guard; }

  /// Checks, measures, prints. Throws Disagreement.
  void measure(const Case& c);

 private:
  Options options_;
  double copy_bytes_per_ns_ = 0;  // of the large copy
};

struct Disagreement {
  std::string message;
};

/// A family's benches, registered by SMPO_BENCH at program start.
struct Family {
  const char* name;
  void (*run)(Session&);
};

std::vector<Family>& families();

struct Registration {
  Registration(const char* name, void (*run)(Session&)) { families().push_back({name, run}); }
};

/// SMPO_BENCH(adamw) { session.measure({...}); }
#define SMPO_BENCH(name)                                                              \
  static void name##_bench(::smpo::bench::Session& session);                          \
  static const ::smpo::bench::Registration name##_registration(#name, &name##_bench); \
  static void name##_bench([[maybe_unused]] ::smpo::bench::Session& session)

/// For `disagreement`: nothing when |a - b| <= relative * |b| + absolute everywhere, else the first place where not.
/// With both zero: the same values, NaN equal to NaN.
std::optional<std::string> first_difference(const float* a, const float* b, int64_t count, double relative,
                                            double absolute);

/// Floats in [-1, 1), the same on every machine.
std::vector<float> uniform_floats(int64_t count, uint32_t seed);

}  // namespace smpo::bench

#endif  // SMPO_BENCH_HARNESS_H_

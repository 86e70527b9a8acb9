// smpo_bench [--family NAME]... [--threads N] [--repeats N] [--guard] [--list]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "harness.h"

namespace {

constexpr const char* kUsage =
    "usage: smpo_bench [options]\n"
    "  --family NAME   only this family; may be repeated\n"
    "  --threads N     OpenMP threads (default: OpenMP's own)\n"
    "  --repeats N     turns per case; the median is reported (default 15)\n"
    "  --guard         only the guarded hot paths, as ratios to a calibration loop in this process\n"
    "  --list          names of the families\n"
    "JSON lines go to stdout, a table to stderr. Exit code 1 when contenders disagree, 2 for a wrong command line.\n";

[[noreturn]] void usage(const std::string& problem) {
  std::fprintf(stderr, "smpo_bench: %s\n%s", problem.c_str(), kUsage);
  std::exit(2);
}

int positive(const char* option, const char* text) {
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  if (*text == '\0' || *end != '\0' || value < 1 || value > 100000) {
    usage(std::string(option) + ": expected a positive number, got \"" + text + "\"");
  }
  return static_cast<int>(value);
}

}  // namespace

int main(int argc, char** argv) {
  using smpo::bench::Family;
  std::vector<Family> families = smpo::bench::families();
  std::sort(families.begin(), families.end(),
            [](const Family& a, const Family& b) { return std::strcmp(a.name, b.name) < 0; });
  smpo::bench::Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const auto value = [&]() -> const char* {
      if (i + 1 == argc) usage(option + ": a value is missing");
      return argv[++i];
    };
    if (option == "--family") {
      options.families.emplace_back(value());
    } else if (option == "--threads") {
      options.threads = positive("--threads", value());
    } else if (option == "--repeats") {
      options.repeats = positive("--repeats", value());
    } else if (option == "--guard") {
      options.guard = true;
    } else if (option == "--list") {
      for (const Family& family : families) std::printf("%s\n", family.name);
      return 0;
    } else if (option == "--help") {
      std::fputs(kUsage, stdout);
      return 0;
    } else {
      usage("unknown option " + option);
    }
  }
  for (const std::string& wanted : options.families) {
    if (std::none_of(families.begin(), families.end(), [&](const Family& family) { return wanted == family.name; })) {
      usage("no family " + wanted + "; see --list");
    }
  }
  try {
    smpo::bench::Session session(options);
    for (const Family& family : families) {
      const bool wanted = options.families.empty() || std::find(options.families.begin(), options.families.end(),
                                                                family.name) != options.families.end();
      if (wanted) family.run(session);
    }
  } catch (const smpo::bench::Disagreement& disagreement) {
    std::fprintf(stderr, "smpo_bench: contenders disagree: %s\n", disagreement.message.c_str());
    return 1;
  }
  return 0;
}

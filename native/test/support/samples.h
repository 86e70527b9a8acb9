// Reproducible inputs, sizes that exercise tails, and the instruction sets of this machine.
#ifndef SMPO_TEST_SUPPORT_SAMPLES_H_
#define SMPO_TEST_SUPPORT_SAMPLES_H_

#include <cstdint>
#include <random>
#include <vector>

#include "kernels/cpu/dispatch.h"

namespace smpo::test {

/// Sizes around every vector width, chunk and page boundary of the kernels.
inline std::vector<int64_t> awkward_sizes() {
  return {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 255, 257, 1023, 1024, 1025, 4095, 4097, 16385, 65537};
}

inline std::vector<float> normal_floats(int64_t count, uint32_t seed, float mean = 0, float deviation = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> distribution(mean, deviation);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = distribution(generator);
  return values;
}

/// Instruction sets of this machine, from the baseline to the best.
inline std::vector<kernels::cpu::InstructionSet> runnable_instruction_sets() {
  std::vector<kernels::cpu::InstructionSet> sets;
  for (int32_t set = 0; set <= static_cast<int32_t>(kernels::cpu::best_instruction_set()); ++set) {
    sets.push_back(static_cast<kernels::cpu::InstructionSet>(set));
  }
  return sets;
}

}  // namespace smpo::test

#endif  // SMPO_TEST_SUPPORT_SAMPLES_H_

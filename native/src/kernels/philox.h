// Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as
// 1, 2, 3" (SC11), and how this project numbers its random bits.
//
// A block of four 32-bit words is a pure function of a 64-bit key and a 128-bit counter, so any block can be
// computed without the ones before it. Here:
//
//   key     = seed: low word, high word
//   counter = { block in the row, item bits 0..31, step, purpose << 24 | item bits 32..55 }
//
// purpose < 2^8 is what the bits are for, item < 2^56 the pair or image they belong to, step the training step. Java
// samples timesteps and order with the same function and numbering.
#ifndef SMPO_KERNELS_PHILOX_H_
#define SMPO_KERNELS_PHILOX_H_

#include <cstdint>

#include "kernels/types.h"

namespace smpo::kernels {

struct PhiloxBlock {
  uint32_t x0, x1, x2, x3;
};

struct PhiloxKey {
  uint32_t k0, k1;
};

/// Ten rounds.
SMPO_HOST_DEVICE PhiloxBlock philox4x32(PhiloxBlock counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53u} * counter.x0;
    const uint64_t product1 = uint64_t{0xCD9E8D57u} * counter.x2;
    counter = PhiloxBlock{static_cast<uint32_t>(product1 >> 32) ^ counter.x1 ^ key.k0, static_cast<uint32_t>(product1),
                          static_cast<uint32_t>(product0 >> 32) ^ counter.x3 ^ key.k1, static_cast<uint32_t>(product0)};
    key.k0 += 0x9E3779B9u;  // the golden ratio
    key.k1 += 0xBB67AE85u;  // sqrt(3) - 1
  }
  return counter;
}

SMPO_HOST_DEVICE PhiloxKey philox_key(uint64_t seed) {
  return PhiloxKey{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
}

SMPO_HOST_DEVICE PhiloxBlock philox_counter(uint32_t block, uint32_t purpose, uint32_t step, int64_t item) {
  const auto bits = static_cast<uint64_t>(item);
  return PhiloxBlock{block, static_cast<uint32_t>(bits), step,
                     purpose << 24 | (static_cast<uint32_t>(bits >> 32) & 0xffffffu)};
}

}  // namespace smpo::kernels

#endif  // SMPO_KERNELS_PHILOX_H_

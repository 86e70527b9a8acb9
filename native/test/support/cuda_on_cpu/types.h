// The vector types that the emulator uses, in the global namespace as in CUDA.
#ifndef SMPO_TEST_SUPPORT_CUDA_ON_CPU_TYPES_H_
#define SMPO_TEST_SUPPORT_CUDA_ON_CPU_TYPES_H_

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

#endif  // SMPO_TEST_SUPPORT_CUDA_ON_CPU_TYPES_H_

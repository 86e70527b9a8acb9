// Correct kernels of common patterns, for the emulator's tests.
#ifndef SMPO_TEST_CUDA_ON_CPU_SAMPLES_H_
#define SMPO_TEST_CUDA_ON_CPU_SAMPLES_H_

#include <cuda_runtime.h>

#include <cstdint>

namespace smpo::test {

/// sums[b] = sum over block b's part of x[0..count): grid stride, shuffles, two barriers. Sums of small
/// integers in float are exact.
void block_sums(const float* x, int64_t count, float* sums, int blocks, int threads);

/// total[0] = sum of x, by the block that finishes last (a fence and an atomic counter): `done` is 0 before and after.
void sum_by_last_block(const float* x, int64_t count, float* partial, float* total, unsigned* done, int blocks);

/// y[c][r] = x[r][c] through 32 x 33 tiles of shared memory, 32 x 8 threads.
void transpose(const float* x, float* y, int rows, int columns);

/// counts[v] += 1 for each byte value v: atomics in shared memory, then in global memory.
void histogram(const unsigned char* x, int64_t count, unsigned* counts, int blocks, int threads);

/// y[i] = x[0] + ... + x[i] within each run of 32 (shuffle up), whole warps.
void warp_scan(const int* x, int* y, int count);

/// y[i] = how many x of its warp are equal to x[i], by match; votes[3 * warp ...] = any, all, ballot of (x != 0).
void warp_votes(const int* x, int* equal, unsigned* votes, int count);

/// out[block] = number of odd x, whether all are positive, whether any is zero, by the counting and voting barriers.
void counting_barriers(const int* x, int* out, int threads);

/// y = x reversed through `count` floats of dynamic shared memory, one block of 1024 threads.
void reverse_in_dynamic_shared(const float* x, float* y, int count);

/// index[i] = i over a three-dimensional grid and block of odd sizes.
void number_threads(int* index, dim3 grid, dim3 block);

/// out[0] = number of threads that acquired a lock built on atomicCAS.
void count_under_lock(unsigned* lock, int* out, int threads);

/// out[i] = value that thread i reads from unwritten shared memory: static, then dynamic.
void read_unwritten_shared(float* fixed, float* dynamic, int threads);

}  // namespace smpo::test

#endif  // SMPO_TEST_CUDA_ON_CPU_SAMPLES_H_

// Sets OpenMP's thread count for the duration of a scope.
#ifndef SMPO_TEST_SUPPORT_THREADS_H_
#define SMPO_TEST_SUPPORT_THREADS_H_

#include <omp.h>

namespace smpo::test {

class ThreadScope {
 public:
  explicit ThreadScope(int threads) : before_(omp_get_max_threads()) { omp_set_num_threads(threads); }
  ~ThreadScope() { omp_set_num_threads(before_); }
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int before_;
};

}  // namespace smpo::test

#endif  // SMPO_TEST_SUPPORT_THREADS_H_

// Memory of this process, as reported by the operating system.
#ifndef SMPO_TEST_SUPPORT_PROCESS_MEMORY_H_
#define SMPO_TEST_SUPPORT_PROCESS_MEMORY_H_

#include <unistd.h>

#include <cstdint>
#include <fstream>

namespace smpo::test {

/// Returns the resident memory of this process in bytes.
inline int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0;
  int64_t resident = 0;
  statm >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

}  // namespace smpo::test

#endif  // SMPO_TEST_SUPPORT_PROCESS_MEMORY_H_

#include "engine/packing.h"

#include <string>

#include "engine/cpu_info.h"
#include "engine/memory/cpu_tensors.h"
#include "engine/session.h"

namespace smpo::engine {

tape::PackingOptions packing_for(Session& session) {
  return {.budget =
              [] {
                const uint64_t free = CpuInfo::of_this_process().available_memory + cpu_tensors().statistics().pooled;
                return static_cast<int64_t>(free / 2);
              },
          .refused =
              [&session](int64_t bytes) {
                session.log(
                    SMPO_LOG_WARNING,
                    "packed weights: no room for another " + std::to_string(bytes >> 20) +
                        " MiB in half of the free memory; the layers that are left run on plain weights, which is "
                        "slower and gives the same results");
              }};
}

}  // namespace smpo::engine

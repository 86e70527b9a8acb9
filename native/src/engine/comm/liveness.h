// Finds out which processes of a group have ended or hang, so that a failed collective can name them.
#ifndef SMPO_ENGINE_COMM_LIVENESS_H_
#define SMPO_ENGINE_COMM_LIVENESS_H_

#include <memory>
#include <string>

#include "engine/comm/backend.h"
#include "engine/comm/comm.h"

namespace smpo::engine {

// A thread that counts a number of this rank up in the store as long as the process lives.
class Liveness {
 public:
  // `store` has a connection of its own, because a call on it may wait for a rank 0 that hangs.
  Liveness(const CommConfig& config, StorePointer store);
  ~Liveness();
  Liveness(const Liveness&) = delete;
  Liveness& operator=(const Liveness&) = delete;

  // Returns the ranks whose numbers stand still, such as "rank 1" or "rank 1, 3"; empty if there are none or it cannot
  // be told. Takes up to 5 s. The first rank that asks decides, and the others return its answer,
  // because they lose their connections to it next.
  std::string lost();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_COMM_LIVENESS_H_

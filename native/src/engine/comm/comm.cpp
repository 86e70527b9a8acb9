#include "engine/comm/comm.h"

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/csrc/distributed/c10d/Work.hpp>
#include <utility>
#include <vector>

#include "engine/comm/backend.h"
#include "engine/comm/collectives.h"
#include "engine/comm/liveness.h"
#include "engine/error.h"
#include "engine/model_value.h"
#include "engine/session.h"
#include "engine/torch_tensor.h"

namespace smpo::engine {

struct Comm {
  CommConfig config;
  StorePointer store;
  std::unique_ptr<Liveness> liveness;  // null in a group of one process
  BackendPointer backend;
};

namespace {

std::vector<uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

std::string text_of(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

std::string name_of(const CommConfig& config) {
  return "rank " + std::to_string(config.rank) + " of " + std::to_string(config.world_size) + " at " + config.host +
         ":" + std::to_string(config.port);
}

// Runs a step of the communication. Failures of c10d, Gloo and NCCL become SMPO_PEER_LOST: beyond checked arguments,
// they mean that another process has ended or is late. `liveness`, if not null, names that process.
template <typename Step>
auto communicate(const CommConfig& config, const char* doing, const Step& step, Liveness* liveness = nullptr) {
  const auto lost = [&] {
    // Until there is a group, the only connection is to rank 0, unless the launcher has a store.
    const bool only_first = liveness == nullptr && config.rank > 0 && !config.store_exists;
    const std::string ranks = only_first ? "rank 0" : liveness == nullptr ? "" : liveness->lost();
    return ranks.empty() ? ranks : "lost " + ranks + ", which has ended or hangs: ";
  };
  try {
    return step();
  } catch (const Error&) {
    throw;
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const c10::Error& error) {
    fail(SMPO_PEER_LOST, doing, " (", name_of(config), "): ", lost(), first_line(error.what_without_backtrace()));
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    fail(SMPO_PEER_LOST, doing, " (", name_of(config), "): ", lost(), first_line(error.what()));
  }
}

StorePointer open_store(const CommConfig& config) {
  c10d::TCPStoreOptions options;
  options.port = config.port;
  options.isServer = config.rank == 0 && !config.store_exists;
  options.numWorkers = static_cast<size_t>(config.world_size);
  // Waiting is a step of its own below, after the checks.
  options.waitWorkers = false;
  options.timeout = config.join_timeout;
  if (!options.isServer) {
    return communicate(config, config.store_exists ? "connecting to the store" : "connecting to rank 0",
                       [&] { return c10::make_intrusive<c10d::TCPStore>(config.host, options); });
  }
  try {
    return c10::make_intrusive<c10d::TCPStore>(config.host, options);
  } catch (const c10::Error& error) {
    fail(SMPO_UNSUPPORTED, "config.port: ", name_of(config),
         " cannot listen: ", first_line(error.what_without_backtrace()));
  }
}

// Another connection to the store of a group.
StorePointer reopen_store(const CommConfig& config) {
  CommConfig client = config;
  client.store_exists = true;
  return c10::make_intrusive<c10d::PrefixStore>(config.prefix, open_store(client));
}

constexpr const char* kRefused = "refused";

std::string ready_key(int64_t rank) { return "ready/" + std::to_string(rank); }

// Calls `arrived` until it returns true; returns false if it does not within the time for joining.
template <typename Condition>
bool await(const CommConfig& config, const Condition& arrived) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point deadline = Clock::now() + config.join_timeout;
  auto pause = std::chrono::milliseconds(2);
  while (!arrived()) {
    if (Clock::now() > deadline) return false;
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, std::chrono::milliseconds(200));
  }
  return true;
}

// Throws Error(SMPO_INVALID_ARGUMENT) for what would make collectives hang or mix up data.
void check_agreement(const CommConfig& config, c10d::Store& store) {
  if (store.add("rank/" + std::to_string(config.rank), 1) != 1) {
    fail(SMPO_INVALID_ARGUMENT, "config.rank: expected a rank of its own for every process, got ", config.rank,
         " for two of them");
  }
  const auto compare = [&](const char* field, const std::string& own) {
    if (config.rank == 0) {
      store.set(field, bytes_of(own));
      return;
    }
    if (!await(config, [&] { return store.check({field}); })) {
      fail(SMPO_PEER_LOST, "no sign of rank 0 within ", config.join_timeout.count(), " ms");
    }
    const std::string first = text_of(store.get(field));
    if (first != own) {
      fail(SMPO_INVALID_ARGUMENT, "config.", field, ": expected ", first, " as on rank 0, got ", own, " on rank ",
           config.rank);
    }
  };
  compare("world_size", std::to_string(config.world_size));
  compare("fingerprint", config.fingerprint);
}

// Returns when every rank has passed its checks.
void wait_for_all(const CommConfig& config, c10d::Store& store) {
  int64_t next = 0;
  const bool all = await(config, [&] {
    if (store.check({kRefused})) {
      fail(SMPO_INVALID_ARGUMENT, "another process was refused: ", text_of(store.get(kRefused)));
    }
    while (next < config.world_size && store.check({ready_key(next)})) ++next;
    return next == config.world_size;
  });
  if (all) return;
  std::string missing;
  for (int64_t rank = next; rank < config.world_size; ++rank) {
    if (!store.check({ready_key(rank)})) missing += (missing.empty() ? "" : ", ") + std::to_string(rank);
  }
  fail(SMPO_PEER_LOST, "no sign of rank ", missing, " within ", config.join_timeout.count(), " ms");
}

void agree(const CommConfig& config, c10d::Store& store) {
  try {
    check_agreement(config, store);
  } catch (const Error& error) {
    store.set(kRefused, bytes_of(error.what()));
    throw;
  }
  store.set(ready_key(config.rank), bytes_of("1"));
  wait_for_all(config, store);
}

void require_root(const Comm& comm, int32_t root) {
  if (root < 0 || root >= comm.config.world_size) {
    fail(SMPO_INVALID_ARGUMENT, "root: expected 0..", comm.config.world_size - 1, ", got ", root);
  }
}

// Runs a collective, which `begin` queues.
template <typename Begin>
void collective(Comm& comm, const char* doing, const Begin& begin) {
  communicate(
      comm.config, doing,
      [&] {
        c10::intrusive_ptr<c10d::Work> work;
        {
          // c10d notes the groups of the process in a map without a lock: a race where ranks are threads, as in tests.
          static std::mutex queueing;
          const std::lock_guard<std::mutex> lock(queueing);
          work = begin();
        }
        work->wait();
      },
      comm.liveness.get());
}

void reduce(Comm& comm, const char* doing, const at::Tensor& value) {
  collective(comm, doing, [&] {
    std::vector<at::Tensor> tensors = {value};
    return comm.backend->allreduce(tensors);
  });
}

}  // namespace

std::shared_ptr<Comm> open_comm(Session& session, CommConfig config) {
  const StorePointer server = open_store(config);
  const auto store = c10::make_intrusive<c10d::PrefixStore>(config.prefix, server);
  communicate(config, "agreeing with the other processes", [&] { agree(config, *store); });
  auto liveness = config.world_size == 1 ? nullptr : std::make_unique<Liveness>(config, reopen_store(config));
  const auto connect = [&] {
    const auto keys = c10::make_intrusive<c10d::PrefixStore>("backend", store);
    return session.device().type() == SMPO_DEVICE_CPU ? gloo_backend(config, keys) : nccl_backend(config, keys);
  };
  const BackendPointer backend = communicate(config, "connecting to the other processes", connect, liveness.get());
  return std::make_shared<Comm>(
      Comm{.config = std::move(config), .store = server, .liveness = std::move(liveness), .backend = backend});
}

void all_reduce(Comm& comm, Tensor& tensor) { reduce(comm, "all_reduce", require_floating(tensor.value, "tensor")); }

void all_reduce_gradients(Comm& comm, Model& model) {
  const models::ParameterGroup* group = model.weights().trained();
  if (group == nullptr) {
    fail(SMPO_INVALID_ARGUMENT, "model: expected a trainable one or one with adapters, got a frozen one");
  }
  reduce(comm, "all_reduce of gradients", group->gradient());
}

void broadcast(Comm& comm, Tensor& tensor, int32_t root) { broadcast(comm, tensor.value, root); }

void broadcast(Comm& comm, const at::Tensor& value, int32_t root) {
  require_root(comm, root);
  collective(comm, "broadcast", [&] {
    std::vector<at::Tensor> tensors = {value};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    return comm.backend->broadcast(tensors, options);
  });
}

void all_gather(Comm& comm, const at::Tensor& own, const at::Tensor& whole) {
  collective(comm, "all_gather", [&] {
    at::Tensor input = own, output = whole;
    return comm.backend->_allgather_base(output, input);
  });
}

int32_t rank_of(const Comm& comm) { return comm.config.rank; }

int32_t size_of(const Comm& comm) { return comm.config.world_size; }

std::shared_ptr<Tensor> gather(Comm& comm, const Tensor& tensor, int32_t root) {
  require_root(comm, root);
  std::vector<int64_t> shape = tensor.value.sizes().vec();
  shape.insert(shape.begin(), comm.config.world_size);
  const bool receives = comm.config.rank == root;
  const at::Tensor all = receives ? at::empty(shape, tensor.value.options()) : at::Tensor();
  collective(comm, "gather", [&] {
    std::vector<at::Tensor> inputs = {tensor.value};
    std::vector<std::vector<at::Tensor>> outputs;
    if (receives) outputs.push_back(all.unbind(0));
    c10d::GatherOptions options;
    options.rootRank = root;
    return comm.backend->gather(outputs, inputs, options);
  });
  return receives ? hold(all) : nullptr;
}

void barrier(Comm& comm) {
  collective(comm, "barrier", [&] { return comm.backend->barrier(); });
}

}  // namespace smpo::engine

#include "engine/comm/comm.h"

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <exception>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/csrc/distributed/c10d/Work.hpp>
#include <utility>
#include <vector>

#include "engine/comm/backend.h"
#include "engine/error.h"
#include "engine/model_value.h"
#include "engine/session.h"
#include "engine/torch_tensor.h"

namespace smpo::engine {

struct Comm {
  CommConfig config;
  StorePointer store;
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
// they mean that another process has ended or is late.
template <typename Step>
auto communicate(const CommConfig& config, const char* doing, const Step& step) {
  try {
    return step();
  } catch (const Error&) {
    throw;
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const c10::Error& error) {
    fail(SMPO_PEER_LOST, doing, " (", name_of(config), "): ", first_line(error.what_without_backtrace()));
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    fail(SMPO_PEER_LOST, doing, " (", name_of(config), "): ", first_line(error.what()));
  }
}

StorePointer open_store(const CommConfig& config) {
  c10d::TCPStoreOptions options;
  options.port = config.port;
  options.isServer = config.rank == 0;
  options.numWorkers = static_cast<size_t>(config.world_size);
  // Waiting is a step of its own below, after the checks.
  options.waitWorkers = false;
  options.timeout = config.timeout;
  if (config.rank != 0) {
    return communicate(config, "connecting to rank 0",
                       [&] { return c10::make_intrusive<c10d::TCPStore>(config.host, options); });
  }
  try {
    return c10::make_intrusive<c10d::TCPStore>(config.host, options);
  } catch (const c10::Error& error) {
    fail(SMPO_UNSUPPORTED, "config.port: ", name_of(config),
         " cannot listen: ", first_line(error.what_without_backtrace()));
  }
}

constexpr const char* kRefused = "smpo/refused";

std::string ready_key(int64_t rank) { return "smpo/ready/" + std::to_string(rank); }

// Throws Error(SMPO_INVALID_ARGUMENT) for what would make collectives hang or mix up data.
void check_agreement(const CommConfig& config, c10d::Store& store) {
  if (store.add("smpo/rank/" + std::to_string(config.rank), 1) != 1) {
    fail(SMPO_INVALID_ARGUMENT, "config.rank: expected a rank of its own for every process, got ", config.rank,
         " for two of them");
  }
  const auto compare = [&](const char* field, const std::string& own) {
    const std::string key = std::string("smpo/") + field;
    if (config.rank == 0) {
      store.set(key, bytes_of(own));
      return;
    }
    const std::string first = text_of(store.get(key));
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
  using Clock = std::chrono::steady_clock;
  const Clock::time_point deadline = Clock::now() + config.timeout;
  auto pause = std::chrono::milliseconds(2);
  int64_t next = 0;
  while (true) {
    if (store.check({kRefused})) {
      fail(SMPO_INVALID_ARGUMENT, "another process was refused: ", text_of(store.get(kRefused)));
    }
    while (next < config.world_size && store.check({ready_key(next)})) ++next;
    if (next == config.world_size) return;
    if (Clock::now() > deadline) break;
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, std::chrono::milliseconds(200));
  }
  std::string missing;
  for (int64_t rank = next; rank < config.world_size; ++rank) {
    if (!store.check({ready_key(rank)})) missing += (missing.empty() ? "" : ", ") + std::to_string(rank);
  }
  fail(SMPO_PEER_LOST, "no sign of rank ", missing, " within ", config.timeout.count(), " ms");
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

void reduce(Comm& comm, const char* doing, const at::Tensor& value) {
  communicate(comm.config, doing, [&] {
    std::vector<at::Tensor> tensors = {value};
    comm.backend->allreduce(tensors)->wait();
  });
}

}  // namespace

std::shared_ptr<Comm> open_comm(Session& session, CommConfig config) {
  const StorePointer store = open_store(config);
  communicate(config, "agreeing with the other processes", [&] { agree(config, *store); });
  const BackendPointer backend = communicate(config, "connecting to the other processes", [&] {
    const auto prefixed = c10::make_intrusive<c10d::PrefixStore>("smpo/backend", store);
    return session.device().type() == SMPO_DEVICE_CPU ? gloo_backend(config, prefixed) : nccl_backend(config, prefixed);
  });
  return std::make_shared<Comm>(Comm{.config = std::move(config), .store = store, .backend = backend});
}

void all_reduce(Comm& comm, Tensor& tensor) { reduce(comm, "all_reduce", require_floating(tensor.value, "tensor")); }

void all_reduce_gradients(Comm& comm, Model& model) {
  const models::ParameterGroup* group = model.weights().trained();
  if (group == nullptr) {
    fail(SMPO_INVALID_ARGUMENT, "model: expected a trainable one or one with adapters, got a frozen one");
  }
  reduce(comm, "all_reduce of gradients", group->gradient());
}

void broadcast(Comm& comm, Tensor& tensor, int32_t root) {
  require_root(comm, root);
  communicate(comm.config, "broadcast", [&] {
    std::vector<at::Tensor> tensors = {tensor.value};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    comm.backend->broadcast(tensors, options)->wait();
  });
}

std::shared_ptr<Tensor> gather(Comm& comm, const Tensor& tensor, int32_t root) {
  require_root(comm, root);
  std::vector<int64_t> shape = tensor.value.sizes().vec();
  shape.insert(shape.begin(), comm.config.world_size);
  const bool receives = comm.config.rank == root;
  const at::Tensor all = receives ? at::empty(shape, tensor.value.options()) : at::Tensor();
  communicate(comm.config, "gather", [&] {
    std::vector<at::Tensor> inputs = {tensor.value};
    std::vector<std::vector<at::Tensor>> outputs;
    if (receives) outputs.push_back(all.unbind(0));
    c10d::GatherOptions options;
    options.rootRank = root;
    comm.backend->gather(outputs, inputs, options)->wait();
  });
  return receives ? hold(all) : nullptr;
}

void barrier(Comm& comm) {
  communicate(comm.config, "barrier", [&] { comm.backend->barrier()->wait(); });
}

}  // namespace smpo::engine

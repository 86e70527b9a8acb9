#include <chrono>
#include <utility>

#include "c_api/guard.h"
#include "engine/comm/comm.h"
#include "engine/session.h"

using smpo::c_api::guarded;
using smpo::c_api::require_pointer;
using smpo::c_api::require_range;
using smpo::c_api::require_struct;
using smpo::engine::Session;

namespace {

constexpr int64_t kLongestWait = int64_t{7} * 24 * 3600 * 1000;  // a week, in milliseconds

}  // namespace

SMPO_EXPORT smpo_status smpo_comm_open(smpo_session session, const smpo_comm_config* config, smpo_comm* comm,
                                       smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    require_struct(config, "config");
    require_pointer(comm, "comm");
    require_range(config->world_size, 1, 65536, "config.world_size");
    require_range(config->rank, 0, config->world_size - 1, "config.rank");
    require_range(config->port, config->world_size == 1 ? 0 : 1, 65535, "config.port");
    require_range(config->timeout_millis, 1, kLongestWait, "config.timeout_millis");
    require_pointer(config->host, "config.host");
    require_pointer(config->fingerprint, "config.fingerprint");
    require_range(config->join_millis, 0, kLongestWait, "config.join_millis");
    require_range(config->store_exists, 0, 1, "config.store_exists");
    if (config->store_exists == 1) require_range(config->port, 1, 65535, "config.port");
    require_range(config->reserved, 0, 0, "config.reserved");
    const int64_t join_millis = config->join_millis == 0 ? config->timeout_millis : config->join_millis;
    *comm = s.adopt(smpo::engine::open_comm(s, {.rank = config->rank,
                                                .world_size = config->world_size,
                                                .host = config->host,
                                                .port = static_cast<uint16_t>(config->port),
                                                .timeout = std::chrono::milliseconds(config->timeout_millis),
                                                .fingerprint = config->fingerprint,
                                                .prefix = config->prefix == nullptr ? "smpo" : config->prefix,
                                                .join_timeout = std::chrono::milliseconds(join_millis),
                                                .store_exists = config->store_exists == 1}));
  });
}

SMPO_EXPORT smpo_status smpo_comm_all_reduce(smpo_session session, smpo_comm comm, smpo_tensor tensor,
                                             smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto value = s.tensor(tensor);
    smpo::engine::all_reduce(*s.comm(comm), *value);
  });
}

SMPO_EXPORT smpo_status smpo_comm_all_reduce_gradients(smpo_session session, smpo_comm comm, smpo_model model,
                                                       smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto trained = s.model(model);
    smpo::engine::all_reduce_gradients(*s.comm(comm), *trained);
  });
}

SMPO_EXPORT smpo_status smpo_comm_broadcast(smpo_session session, smpo_comm comm, smpo_tensor tensor, int32_t root,
                                            smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto value = s.tensor(tensor);
    smpo::engine::broadcast(*s.comm(comm), *value, root);
  });
}

SMPO_EXPORT smpo_status smpo_comm_gather(smpo_session session, smpo_comm comm, smpo_tensor tensor, int32_t root,
                                         smpo_tensor* gathered, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto own = s.tensor(tensor);
    const auto group = s.comm(comm);
    require_pointer(gathered, "gathered");
    auto all = smpo::engine::gather(*group, *own, root);
    *gathered = all == nullptr ? 0 : s.adopt(std::move(all));
  });
}

SMPO_EXPORT smpo_status smpo_comm_barrier(smpo_session session, smpo_comm comm, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) { smpo::engine::barrier(*s.comm(comm)); });
}

SMPO_EXPORT smpo_status smpo_comm_close(smpo_session session, smpo_comm comm, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) { s.close_comm(comm); });
}

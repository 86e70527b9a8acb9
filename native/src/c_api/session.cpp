#include "engine/session.h"

#include "c_api/guard.h"

using smpo::c_api::Access;
using smpo::c_api::guarded;
using smpo::c_api::require_memory;
using smpo::c_api::require_pointer;
using smpo::c_api::require_range;
using smpo::c_api::require_struct;
using smpo::engine::Session;

SMPO_EXPORT smpo_status smpo_session_open(const smpo_session_config* config, smpo_session* session, smpo_error* error) {
  return guarded(__func__, error, [&] {
    require_struct(config, "config");
    require_pointer(session, "session");
    require_range(config->threads, 0, 1024, "config.threads");
    require_range(config->deterministic, 0, 1, "config.deterministic");
    require_range(config->log_level, SMPO_LOG_DEBUG, SMPO_LOG_ERROR, "config.log_level");
    require_range(config->log_capacity, 1, 65536, "config.log_capacity");
    require_range(config->reserved, 0, 0, "config.reserved");
    *session = Session::open({.device_type = config->device_type,
                              .device_index = config->device_index,
                              .threads = config->threads,
                              .seed = config->seed,
                              .deterministic = config->deterministic == 1,
                              .log_level = config->log_level,
                              .log_capacity = config->log_capacity});
  });
}

SMPO_EXPORT smpo_status smpo_session_close(smpo_session session, smpo_error* error) {
  return guarded<Access::kClosing>(__func__, session, error, [](Session& s) { s.close(); });
}

SMPO_EXPORT smpo_status smpo_session_cancel(smpo_session session, smpo_error* error) {
  return guarded<Access::kAnyThread>(__func__, session, error, [](Session& s) { s.request_cancel(); });
}

SMPO_EXPORT smpo_status smpo_session_synchronize(smpo_session session, smpo_error* error) {
  return guarded(__func__, session, error, [](Session& s) { s.synchronize(); });
}

SMPO_EXPORT smpo_status smpo_session_trim(smpo_session session, smpo_error* error) {
  return guarded(__func__, session, error, [](Session& s) { s.trim(); });
}

SMPO_EXPORT smpo_status smpo_session_describe(smpo_session session, smpo_session_statistics* statistics,
                                              smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    require_struct(statistics, "statistics");
    *statistics = s.statistics();
  });
}

SMPO_EXPORT smpo_status smpo_session_drain_log(smpo_session session, smpo_log_record* records, uint32_t capacity,
                                               uint32_t* count, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    require_memory(records, uint64_t{capacity} * sizeof *records, "records");
    require_pointer(count, "count");
    for (uint32_t i = 0; i < capacity; ++i) {
      if (records[i].size != sizeof *records) {
        smpo::engine::fail(SMPO_INVALID_ARGUMENT, "records[", i, "].size: expected ", sizeof *records, ", got ",
                           records[i].size);
      }
    }
    *count = s.drain_log({records, capacity});
  });
}

SMPO_EXPORT smpo_status smpo_debug_raise(smpo_session session, int32_t kind, smpo_status status, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session&) { smpo::engine::raise(kind, status); });
}

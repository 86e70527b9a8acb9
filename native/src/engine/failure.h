#ifndef SMPO_ENGINE_FAILURE_H_
#define SMPO_ENGINE_FAILURE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/function_ref.h"
#include "smpo.h"

namespace smpo::engine {

// What is left of an exception at the border. A fixed buffer, because filling it must not be able to fail.
struct Failure {
  smpo_status status = SMPO_INTERNAL;
  int64_t detail = 0;
  char message[sizeof(smpo_error::message)] = {};
};

// The exception being handled, of whatever kind. Call only inside a catch block.
Failure current_failure() noexcept;

// Copies zero-terminated UTF-8 into a buffer of `capacity` >= 1 bytes; what does not fit is cut between characters.
void copy_text(char* target, size_t capacity, const char* text) noexcept;

// Whether a cudaError_t leaves its context unusable for good.
bool is_sticky_device_error(int64_t code) noexcept;

// Runs the body. When memory runs out, throws Error(SMPO_OUT_OF_MEMORY) with this advice before what LibTorch says.
void with_memory_advice(FunctionRef body, const std::string& advice);

// Raises what the SMPO_RAISE_* of smpo.h name. SMPO_INVALID_ARGUMENT when kind or status is none of smpo.h.
void raise(int32_t kind, smpo_status status);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_FAILURE_H_

#ifndef SMPO_ENGINE_FAILURE_H_
#define SMPO_ENGINE_FAILURE_H_

#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <utility>

#include "engine/function_ref.h"
#include "smpo.h"

namespace smpo::engine {

// Report of an exception at the border: status, backend code and message. The buffer is fixed, so that filling it
// cannot fail.
struct Failure {
  smpo_status status = SMPO_INTERNAL;
  int64_t detail = 0;
  char message[sizeof(smpo_error::message)] = {};
};

// Describes the exception that is being handled, of whatever type; call it only inside a catch block. Status and detail
// are those of the innermost exception. The message lists the contexts around it, outermost first: "pairs 4..7 of 16:
// forward of the reference: CUDA out of memory. ...".
Failure current_failure() noexcept;

// The work during which another exception was thrown. Always thrown with that exception nested in it.
class Context : public std::exception {
 public:
  explicit Context(std::string doing) : doing_(std::move(doing)) {}
  const char* what() const noexcept override { return doing_.c_str(); }

 private:
  std::string doing_;
};

// Runs the body. If it throws, the exception comes out nested in a Context with the text that `describe` returns.
template <typename Describe>
void in_context(const Describe& describe, FunctionRef body) {
  try {
    body();
  } catch (...) {
    std::throw_with_nested(Context(describe()));
  }
}

// Copies zero-terminated UTF-8 into a buffer of `capacity` >= 1 bytes. Text that does not fit is cut between
// characters.
void copy_text(char* target, size_t capacity, const char* text) noexcept;

// Whether a cudaError_t makes its CUDA context unusable until the process ends.
bool is_sticky_device_error(int64_t code) noexcept;

// Runs the body. If it runs out of memory, the exception comes out nested in a Context with this advice.
void with_memory_advice(FunctionRef body, const std::string& advice);

// Raises the exception that an SMPO_RAISE_* value of smpo.h names. Throws Error(SMPO_INVALID_ARGUMENT) if smpo.h has no
// such kind or status.
void raise(int32_t kind, smpo_status status);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_FAILURE_H_

#ifndef SMPO_ENGINE_ERROR_H_
#define SMPO_ENGINE_ERROR_H_

#include <cmath>
#include <cstdint>
#include <exception>
#include <sstream>
#include <string>
#include <utility>

#include "smpo.h"

namespace smpo::engine {

// The engine's own exception. Its message has the form "argument: expected ..., got ..."; the C API puts the name of
// the called function before it.
class Error final : public std::exception {
 public:
  Error(smpo_status status, std::string message, int64_t detail = 0)
      : status_(status), detail_(detail), message_(std::move(message)) {}

  smpo_status status() const noexcept { return status_; }
  // Error code of a backend, such as a cudaError_t; 0 otherwise.
  int64_t detail() const noexcept { return detail_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  smpo_status status_;
  int64_t detail_;
  std::string message_;
};

// Throws an Error. The message is the concatenation of the parts.
template <typename... Parts>
[[noreturn]] void fail(smpo_status status, const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw Error(status, std::move(message).str());
}

// Throws Error(SMPO_INVALID_ARGUMENT), naming the argument, unless the value is finite.
inline void require_finite(double value, const char* name) {
  if (!std::isfinite(value)) fail(SMPO_INVALID_ARGUMENT, name, ": expected a finite number, got ", value);
}

// Throws Error(SMPO_INVALID_ARGUMENT), naming the first element that is not finite. A null array passes.
inline void require_all_finite(const double* values, int64_t count, const char* name) {
  for (int64_t i = 0; values != nullptr && i < count; ++i) {
    if (!std::isfinite(values[i])) {
      fail(SMPO_INVALID_ARGUMENT, name, "[", i, "]: expected a finite number, got ", values[i]);
    }
  }
}

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_ERROR_H_

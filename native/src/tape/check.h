// Conditions on the inputs of an op.
#ifndef SMPO_TAPE_CHECK_H_
#define SMPO_TAPE_CHECK_H_

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace smpo::tape {

/// Throws std::invalid_argument "op: name<details>" if the condition is false. `name` may be empty.
template <class... Details>
void check(bool condition, std::string_view op, std::string_view name, const Details&... details) {
  if (!condition) [[unlikely]] {
    std::ostringstream message;
    message << op << ": " << name;
    (message << ... << details);
    throw std::invalid_argument(message.str());
  }
}

}  // namespace smpo::tape

#endif  // SMPO_TAPE_CHECK_H_

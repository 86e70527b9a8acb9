#ifndef SMPO_ENGINE_FUNCTION_REF_H_
#define SMPO_ENGINE_FUNCTION_REF_H_

#include <memory>
#include <type_traits>

namespace smpo::engine {

// A non-owning reference to a callable without arguments or result, so that a compiled function can take a lambda
// without an allocation. It must not outlive the callable.
class FunctionRef final {
 public:
  template <typename Body>
    requires(!std::is_same_v<std::remove_cvref_t<Body>, FunctionRef>)
  FunctionRef(Body&& body)  // NOLINT(google-explicit-constructor): made to be passed a lambda
      : body_(std::addressof(body)),
        call_([](void* target) { (*static_cast<std::remove_reference_t<Body>*>(target))(); }) {}

  void operator()() const { call_(body_); }

 private:
  void* body_;
  void (*call_)(void*);
};

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_FUNCTION_REF_H_

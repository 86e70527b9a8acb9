// Names of gloo classes to which LibTorch's ProcessGroupGloo.hpp holds pointers. See ../../README.md.
#pragma once

namespace gloo::transport {

class Device;
// Complete, because a class of ProcessGroupGloo.hpp owns one and has an implicit destructor.
class UnboundBuffer {
 public:
  virtual ~UnboundBuffer();
};

}  // namespace gloo::transport

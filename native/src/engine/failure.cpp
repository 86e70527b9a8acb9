#include "engine/failure.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>

#include "engine/error.h"
#include "kernels/cuda/error.h"
#include "models/weights.h"

namespace smpo::engine {
namespace {

// Values of cudaError_t, which are part of CUDA's ABI; named here because this file also compiles without CUDA.
enum CudaError : int64_t {
  kCudaMemoryAllocation = 2,
  kCudaEccUncorrectable = 214,
  kCudaNvlinkUncorrectable = 220,
  kCudaIllegalAddress = 700,
  kCudaLaunchTimeout = 702,
  kCudaAssert = 710,
  kCudaHardwareStackError = 714,
  kCudaIllegalInstruction = 715,
  kCudaMisalignedAddress = 716,
  kCudaInvalidAddressSpace = 717,
  kCudaInvalidPc = 718,
  kCudaLaunchFailure = 719,
  kCudaTensorMemoryLeak = 721,
};

// Ends the message: `message` comes after the contexts that are there already.
void fill(Failure* failure, smpo_status status, int64_t detail, const char* message) noexcept {
  failure->status = status;
  failure->detail = detail;
  const size_t length = std::strlen(failure->message);
  copy_text(failure->message + length, sizeof failure->message - length, message);
}

void fill_device_error(Failure* failure, int64_t code, const char* message) noexcept {
  const smpo_status status = code == kCudaMemoryAllocation  ? SMPO_OUT_OF_MEMORY
                             : is_sticky_device_error(code) ? SMPO_DEVICE_FAULT
                                                            : SMPO_INTERNAL;
  fill(failure, status, code, message);
}

// Describes the exception that is being handled, after the contexts that the message already holds.
void examine(Failure* failure) noexcept {
  try {
    throw;
  } catch (const Context& context) {
    for (const char* part : {context.what(), ": "}) {
      const size_t length = std::strlen(failure->message);
      copy_text(failure->message + length, sizeof failure->message - length, part);
    }
    try {
      std::rethrow_if_nested(context);
      fill(failure, SMPO_INTERNAL, 0, "an unknown cause");
    } catch (...) {
      examine(failure);
    }
  } catch (const Error& error) {
    fill(failure, error.status(), error.detail(), error.what());
  } catch (const c10::OutOfMemoryError& error) {
    fill(failure, SMPO_OUT_OF_MEMORY, 0, error.what_without_backtrace());
  } catch (const c10::AcceleratorError& error) {
    fill_device_error(failure, error.get_error_code(), error.what_without_backtrace());
  } catch (const kernels::cuda::Error& error) {
    fill_device_error(failure, error.code(), error.what());
  } catch (const c10::Error& error) {
    fill(failure, SMPO_INTERNAL, 0, error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    fill(failure, SMPO_OUT_OF_MEMORY, 0, "host memory: an allocation failed");
  } catch (const models::ShapeMismatch& error) {
    fill(failure, SMPO_SHAPE_MISMATCH, 0, error.what());
  } catch (const std::invalid_argument& error) {
    fill(failure, SMPO_INVALID_ARGUMENT, 0, error.what());
  } catch (const std::exception& error) {
    fill(failure, SMPO_INTERNAL, 0, error.what());
  } catch (...) {
    fill(failure, SMPO_INTERNAL, 0, "an exception of a foreign type");
  }
}

}  // namespace

void copy_text(char* target, size_t capacity, const char* text) noexcept {
  size_t length = std::min(std::strlen(text), capacity - 1);
  // 10xxxxxx continues a character: a cut before such a byte would leave half of one behind.
  if (text[length] != '\0') {
    while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) --length;
  }
  std::memcpy(target, text, length);
  target[length] = '\0';
}

bool is_sticky_device_error(int64_t code) noexcept {
  switch (code) {
    case kCudaEccUncorrectable:
    case kCudaNvlinkUncorrectable:
    case kCudaIllegalAddress:
    case kCudaLaunchTimeout:
    case kCudaAssert:
    case kCudaHardwareStackError:
    case kCudaIllegalInstruction:
    case kCudaMisalignedAddress:
    case kCudaInvalidAddressSpace:
    case kCudaInvalidPc:
    case kCudaLaunchFailure:
    case kCudaTensorMemoryLeak:
      return true;
    default:
      return false;
  }
}

Failure current_failure() noexcept {
  Failure failure;
  examine(&failure);
  return failure;
}

void with_memory_advice(FunctionRef body, const std::string& advice) {
  try {
    body();
  } catch (...) {
    if (current_failure().status == SMPO_OUT_OF_MEMORY) std::throw_with_nested(Context(advice));
    throw;
  }
}

void raise(int32_t kind, smpo_status status) {
  switch (kind) {
    case SMPO_RAISE_NOTHING:
      return;
    case SMPO_RAISE_ENGINE_ERROR:
      if (status <= SMPO_OK || status > SMPO_PEER_LOST) {
        fail(SMPO_INVALID_ARGUMENT, "status: expected ", SMPO_OK + 1, "..", SMPO_PEER_LOST, ", got ", status);
      }
      fail(status, "raised on request: an engine error with status ", status);
    case SMPO_RAISE_INVALID_ARGUMENT:
      throw std::invalid_argument("raised on request: std::invalid_argument");
    case SMPO_RAISE_BAD_ALLOC:
      throw std::bad_alloc();
    case SMPO_RAISE_RUNTIME_ERROR:
      throw std::runtime_error("raised on request: std::runtime_error");
    case SMPO_RAISE_TORCH_ERROR:
      TORCH_CHECK(false, "raised on request: c10::Error");
    case SMPO_RAISE_TORCH_OUT_OF_MEMORY:
      TORCH_CHECK_WITH(OutOfMemoryError, false, "raised on request: c10::OutOfMemoryError");
    case SMPO_RAISE_FOREIGN:
      throw 42;
    case SMPO_RAISE_DEVICE_FAULT:
      throw c10::AcceleratorError({__func__, __FILE__, __LINE__}, kCudaLaunchFailure,
                                  "raised on request: a sticky device error");
    default:
      fail(SMPO_INVALID_ARGUMENT, "kind: expected ", SMPO_RAISE_NOTHING, "..", SMPO_RAISE_DEVICE_FAULT, ", got ", kind);
  }
}

}  // namespace smpo::engine

// Golden files of models. Results are in a safetensors file; config and cases in a JSON file beside it. Weights and
// inputs are generated from their names by the rule of tools/golden/synthetic.py.
#ifndef SMPO_TEST_SUPPORT_GOLDEN_H_
#define SMPO_TEST_SUPPORT_GOLDEN_H_

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/philox.h"
#include "support/json.h"

namespace smpo::test {

// ---- files

inline std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot open " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Returns the tensors of a safetensors file. Throws if header and data do not match.
inline std::map<std::string, at::Tensor> read_safetensors(const std::string& path) {
  static_assert(std::endian::native == std::endian::little);
  const std::string bytes = read_bytes(path);
  uint64_t header_size = 0;
  if (bytes.size() < sizeof header_size) throw std::runtime_error(path + ": no header");
  std::memcpy(&header_size, bytes.data(), sizeof header_size);
  if (header_size > bytes.size() - sizeof header_size) throw std::runtime_error(path + ": the header is cut");
  const std::string_view data = std::string_view(bytes).substr(sizeof header_size + header_size);
  std::map<std::string, at::Tensor> tensors;
  const Json header = Json::parse(std::string_view(bytes).substr(sizeof header_size, header_size));
  for (const auto& [name, entry] : header.object()) {
    if (name == "__metadata__") continue;
    const std::string& dtype = entry["dtype"].string();
    const auto type = dtype == "F32"   ? at::kFloat
                      : dtype == "F64" ? at::kDouble
                      : dtype == "I64" ? at::kLong
                      : dtype == "I32"
                          ? at::kInt
                          : throw std::runtime_error(path + ": " + name + ": dtype " + dtype + " is not read");
    at::Tensor tensor = at::empty(entry["shape"].integers(), type);
    const std::vector<int64_t> range = entry["data_offsets"].integers();
    if (range.size() != 2 || range[0] < 0 || range[1] - range[0] != static_cast<int64_t>(tensor.nbytes()) ||
        range[1] > static_cast<int64_t>(data.size())) {
      throw std::runtime_error(path + ": " + name + ": offsets that do not fit its shape");
    }
    std::memcpy(tensor.mutable_data_ptr(), data.data() + range[0], tensor.nbytes());
    tensors.emplace(name, std::move(tensor));
  }
  return tensors;
}

/// native/test/golden/FOLDER/NAME.{json,safetensors}
struct Golden {
  Json json;
  std::map<std::string, at::Tensor> tensors;

  Golden(const std::string& folder, const std::string& name) {
    const std::string stem = std::string(SMPO_SOURCE_DIR) + "/native/test/golden/" + folder + "/" + name;
    json = Json::parse(read_bytes(stem + ".json"));
    tensors = read_safetensors(stem + ".safetensors");
  }
  const at::Tensor& tensor(const std::string& name) const {
    const auto found = tensors.find(name);
    if (found == tensors.end()) throw std::runtime_error("golden: no tensor " + name);
    return found->second;
  }
};

// ---- generated values

/// Returns s(i) in [-1, 1) for each element of the tensor `name`.
inline at::Tensor synthetic_uniform(std::string_view name, at::IntArrayRef shape) {
  constexpr uint64_t kSeed = 42;
  constexpr uint32_t kPurpose = 255;
  uint64_t hash = 0xCBF29CE484222325u;
  for (const char byte : name) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001B3u;
  const auto item = static_cast<int64_t>(hash & ((uint64_t{1} << 56) - 1));
  at::Tensor tensor = at::empty(shape, at::kFloat);
  auto* out = tensor.mutable_data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); i += 4) {
    const kernels::PhiloxBlock block = kernels::philox4x32(
        kernels::philox_counter(static_cast<uint32_t>(i / 4), kPurpose, 0, item), kernels::philox_key(kSeed));
    const uint32_t words[] = {block.x0, block.x1, block.x2, block.x3};
    for (int64_t j = 0; j < 4 && i + j < tensor.numel(); ++j) {
      out[i + j] = static_cast<float>(words[j] >> 8) * 0x1p-23f - 1.0f;
    }
  }
  return tensor;
}

/// Returns the values of a parameter, given its name in the checkpoint.
inline at::Tensor synthetic_parameter(std::string_view name, at::IntArrayRef shape) {
  const at::Tensor s = synthetic_uniform(name, shape);
  if (shape.size() >= 2) {
    const auto fan_in = static_cast<float>(s.numel() / shape[0]);
    return s.mul(std::sqrt(3.0f / fan_in));
  }
  return name.ends_with(".weight") ? s.mul(0.1f).add(1.0f) : s.mul(0.1f);
}

/// Prefix of the names of a case's inputs. Draw 0 is the case itself; other draws have the same shapes and other
/// values.
inline std::string draw_prefix(size_t k, int64_t draw) {
  const std::string name = "case" + std::to_string(k) + ".";
  return draw == 0 ? name : name + "draw" + std::to_string(draw) + ".";
}

/// Returns an input with a variance of about 1.
inline at::Tensor synthetic_input(std::string_view name, at::IntArrayRef shape) {
  return synthetic_uniform(name, shape).mul(std::sqrt(3.0f));
}

}  // namespace smpo::test

#endif  // SMPO_TEST_SUPPORT_GOLDEN_H_

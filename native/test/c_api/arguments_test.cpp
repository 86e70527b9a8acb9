// Bad arguments, for every function of smpo.h: handles that are null, closed, of another kind, of another session or
// plain noise; null pointers; wrong struct sizes; values out of range; the wrong thread; a poisoned session. Each must
// come back as the right status with a message that names function and argument, and must write nothing else.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include "c_api/border.h"

namespace smpo::test {
namespace {

// Where the functions write.
struct Outputs {
  uint32_t version;
  char text[65];
  smpo_library_info library;
  smpo_cpu_info cpu;
  smpo_cuda_info cuda;
  smpo_cuda_device_info device;
  smpo_session session;
  smpo_session_statistics statistics;
  smpo_log_record records[2];
  uint32_t count;
  smpo_tensor tensor;
  smpo_tensor_spec spec;
  float data[8];
};

// One call's arguments, good until a case spoils one. A function reads those that it has.
struct Arguments {
  smpo_session session = 0;
  smpo_tensor tensor = 0;
  smpo_session_config config = cpu_config();
  smpo_tensor_spec spec = spec_of(SMPO_F32, {2, 4});
  int64_t items[2] = {0, 1};

  const smpo_session_config* config_pointer = &config;
  const smpo_tensor_spec* spec_pointer = &spec;
  const int64_t* items_pointer = items;
  uint64_t items_count = 2;
  uint32_t* version = nullptr;
  char* text = nullptr;
  uint32_t text_capacity = 65;
  smpo_library_info* library = nullptr;
  smpo_cpu_info* cpu = nullptr;
  smpo_cuda_info* cuda = nullptr;
  smpo_cuda_device_info* device = nullptr;
  smpo_session* session_out = nullptr;
  smpo_session_statistics* statistics = nullptr;
  smpo_log_record* records = nullptr;
  uint32_t record_capacity = 2;
  uint32_t* count = nullptr;
  smpo_tensor* tensor_out = nullptr;
  smpo_tensor_spec* spec_out = nullptr;
  float* data = nullptr;
  uint64_t bytes = sizeof Outputs::data;
  int32_t device_index = 0;
  int32_t dtype = SMPO_BF16;
  uint32_t purpose = 3;
  int32_t kind = SMPO_RAISE_NOTHING;
  smpo_status status = SMPO_INTERNAL;

  Arguments() = default;
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;
};

// How one argument is spoiled, and what must come back.
struct Case {
  std::string name;
  std::function<void(Arguments&)> spoil;
  smpo_status status;
  std::string message;  // a part of it
};

struct Function {
  const char* name;
  std::function<smpo_status(Arguments&, smpo_error*)> call;
  std::vector<Case> cases;
  bool session = false;
  bool tensor = false;
  bool spec = false;
};

Case null_pointer(const char* argument, std::function<void(Arguments&)> spoil) {
  return {std::string("null ") + argument, std::move(spoil), SMPO_INVALID_ARGUMENT,
          std::string(argument) + ": expected a pointer"};
}

// Two cases: a size of 0, and one too many.
std::vector<Case> wrong_size(const char* argument, const std::function<uint32_t*(Arguments&)>& size) {
  const std::string message = std::string(argument) + ".size: expected ";
  return {
      {std::string("size 0 of ") + argument, [size](Arguments& a) { *size(a) = 0; }, SMPO_INVALID_ARGUMENT, message},
      {std::string("size + 1 of ") + argument, [size](Arguments& a) { ++*size(a); }, SMPO_INVALID_ARGUMENT, message}};
}

Case out_of_range(const std::string& name, std::function<void(Arguments&)> spoil, const char* message) {
  return {name, std::move(spoil), SMPO_INVALID_ARGUMENT, message};
}

std::vector<Case> joined(std::initializer_list<std::vector<Case>> lists) {
  std::vector<Case> all;
  for (const auto& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

std::vector<Case> config_cases() {
  return {
      out_of_range(
          "device_type -1", [](Arguments& a) { a.config.device_type = -1; }, "device_type: expected 0..1"),
      out_of_range(
          "device_type 2", [](Arguments& a) { a.config.device_type = 2; }, "device_type: expected 0..1, got 2"),
      out_of_range(
          "device_index 1", [](Arguments& a) { a.config.device_index = 1; }, "device_index: expected 0"),
      out_of_range(
          "threads -1", [](Arguments& a) { a.config.threads = -1; }, "config.threads: expected 0..1024"),
      out_of_range(
          "threads 1025", [](Arguments& a) { a.config.threads = 1025; }, "config.threads: expected 0..1024"),
      out_of_range(
          "deterministic 2", [](Arguments& a) { a.config.deterministic = 2; }, "config.deterministic: expected"),
      out_of_range(
          "log_level 4", [](Arguments& a) { a.config.log_level = 4; }, "config.log_level: expected 0..3"),
      out_of_range(
          "log_level -1", [](Arguments& a) { a.config.log_level = -1; }, "config.log_level: expected 0..3"),
      out_of_range(
          "log_capacity 0", [](Arguments& a) { a.config.log_capacity = 0; }, "config.log_capacity: expected 1.."),
      out_of_range(
          "log_capacity 65537", [](Arguments& a) { a.config.log_capacity = 65537; },
          "config.log_capacity: expected 1..65536, got 65537"),
      out_of_range(
          "reserved 1", [](Arguments& a) { a.config.reserved = 1; }, "config.reserved: expected 0..0, got 1"),
  };
}

std::vector<Case> spec_cases() {
  return joined(
      {{null_pointer("spec", [](Arguments& a) { a.spec_pointer = nullptr; })},
       wrong_size("spec", [](Arguments& a) { return &a.spec.size; }),
       {
           out_of_range(
               "dtype 0", [](Arguments& a) { a.spec.dtype = 0; }, "dtype: expected 1..5, got 0"),
           out_of_range(
               "dtype 6", [](Arguments& a) { a.spec.dtype = 6; }, "dtype: expected 1..5, got 6"),
           out_of_range(
               "rank -1", [](Arguments& a) { a.spec.rank = -1; }, "spec.rank: expected 0..8, got -1"),
           out_of_range(
               "rank 9", [](Arguments& a) { a.spec.rank = 9; }, "spec.rank: expected 0..8, got 9"),
           out_of_range(
               "reserved 1", [](Arguments& a) { a.spec.reserved = 1; }, "spec.reserved: expected 0..0, got 1"),
           out_of_range(
               "negative size", [](Arguments& a) { a.spec.shape[1] = -4; }, "got [2,-4]"),
           out_of_range(
               "entry after the rank", [](Arguments& a) { a.spec.shape[2] = 1; },
               "spec.shape: expected 0 in entries from the rank (2) on, got 1 at 2"),
           out_of_range(
               "size that overflows", [](Arguments& a) { a.spec.shape[0] = INT64_MAX; },
               "shape: expected at most 9223372036854775807 bytes"),
       }});
}

const std::vector<Function>& functions() {
  static const std::vector<Function> all = {
      {.name = "smpo_abi_version",
       .call = [](Arguments& a, smpo_error* e) { return smpo_abi_version(a.version, e); },
       .cases = {null_pointer("version", [](Arguments& a) { a.version = nullptr; })}},
      {.name = "smpo_abi_header_sha256",
       .call = [](Arguments& a, smpo_error* e) { return smpo_abi_header_sha256(a.text, a.text_capacity, e); },
       .cases = {null_pointer("text", [](Arguments& a) { a.text = nullptr; }),
                 out_of_range("capacity 64", [](Arguments& a) { a.text_capacity = 64; },
                              "capacity: expected at least 65")}},
      {.name = "smpo_library_describe",
       .call = [](Arguments& a, smpo_error* e) { return smpo_library_describe(a.library, e); },
       .cases = joined({{null_pointer("info", [](Arguments& a) { a.library = nullptr; })},
                        wrong_size("info", [](Arguments& a) { return &a.library->size; })})},
      {.name = "smpo_cpu_describe",
       .call = [](Arguments& a, smpo_error* e) { return smpo_cpu_describe(a.cpu, e); },
       .cases = joined({{null_pointer("info", [](Arguments& a) { a.cpu = nullptr; })},
                        wrong_size("info", [](Arguments& a) { return &a.cpu->size; })})},
      {.name = "smpo_cuda_describe",
       .call = [](Arguments& a, smpo_error* e) { return smpo_cuda_describe(a.cuda, e); },
       .cases = joined({{null_pointer("info", [](Arguments& a) { a.cuda = nullptr; })},
                        wrong_size("info", [](Arguments& a) { return &a.cuda->size; })})},
      {.name = "smpo_cuda_device_describe",
       .call = [](Arguments& a, smpo_error* e) { return smpo_cuda_device_describe(a.device_index, a.device, e); },
       .cases = joined({{null_pointer("info", [](Arguments& a) { a.device = nullptr; })},
                        wrong_size("info", [](Arguments& a) { return &a.device->size; }),
                        {out_of_range("index -1", [](Arguments& a) { a.device_index = -1; }, "index: expected"),
                         out_of_range("index 1000", [](Arguments& a) { a.device_index = 1000; }, "index: expected")}})},
      {.name = "smpo_session_open",
       .call = [](Arguments& a, smpo_error* e) { return smpo_session_open(a.config_pointer, a.session_out, e); },
       .cases = joined({{null_pointer("config", [](Arguments& a) { a.config_pointer = nullptr; }),
                         null_pointer("session", [](Arguments& a) { a.session_out = nullptr; })},
                        wrong_size("config", [](Arguments& a) { return &a.config.size; }),
                        config_cases()})},
      {.name = "smpo_session_close",
       .call = [](Arguments& a, smpo_error* e) { return smpo_session_close(a.session, e); },
       .cases = {},
       .session = true},
      {.name = "smpo_session_cancel",
       .call = [](Arguments& a, smpo_error* e) { return smpo_session_cancel(a.session, e); },
       .cases = {},
       .session = true},
      {.name = "smpo_session_synchronize",
       .call = [](Arguments& a, smpo_error* e) { return smpo_session_synchronize(a.session, e); },
       .cases = {},
       .session = true},
      {.name = "smpo_session_trim",
       .call = [](Arguments& a, smpo_error* e) { return smpo_session_trim(a.session, e); },
       .cases = {},
       .session = true},
      {.name = "smpo_session_describe",
       .call = [](Arguments& a, smpo_error* e) { return smpo_session_describe(a.session, a.statistics, e); },
       .cases = joined({{null_pointer("statistics", [](Arguments& a) { a.statistics = nullptr; })},
                        wrong_size("statistics", [](Arguments& a) { return &a.statistics->size; })}),
       .session = true},
      {.name = "smpo_session_drain_log",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_session_drain_log(a.session, a.records, a.record_capacity, a.count, e);
           },
       .cases = joined({{null_pointer("records", [](Arguments& a) { a.records = nullptr; }),
                         null_pointer("count", [](Arguments& a) { a.count = nullptr; })},
                        wrong_size("records[1]", [](Arguments& a) { return &a.records[1].size; })}),
       .session = true},
      {.name = "smpo_debug_raise",
       .call = [](Arguments& a, smpo_error* e) { return smpo_debug_raise(a.session, a.kind, a.status, e); },
       .cases = {out_of_range("kind -1", [](Arguments& a) { a.kind = -1; }, "kind: expected 0..8, got -1"),
                 out_of_range("kind 9", [](Arguments& a) { a.kind = 9; }, "kind: expected 0..8, got 9"),
                 out_of_range("status 0",
                              [](Arguments& a) {
                                a.kind = SMPO_RAISE_ENGINE_ERROR;
                                a.status = SMPO_OK;
                              },
                              "status: expected 1..12, got 0"),
                 out_of_range("status 13",
                              [](Arguments& a) {
                                a.kind = SMPO_RAISE_ENGINE_ERROR;
                                a.status = 13;
                              },
                              "status: expected 1..12, got 13")},
       .session = true},
      {.name = "smpo_tensor_zeros",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_tensor_zeros(a.session, a.spec_pointer, a.tensor_out, e);
           },
       .cases = {null_pointer("tensor", [](Arguments& a) { a.tensor_out = nullptr; })},
       .session = true,
       .spec = true},
      {.name = "smpo_tensor_from_host",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_tensor_from_host(a.session, a.spec_pointer, a.data, a.bytes, a.tensor_out, e);
           },
       .cases = {null_pointer("data", [](Arguments& a) { a.data = nullptr; }),
                 null_pointer("tensor", [](Arguments& a) { a.tensor_out = nullptr; }),
                 {"one byte less", [](Arguments& a) { --a.bytes; }, SMPO_SHAPE_MISMATCH,
                  "bytes: expected 32 for [2,4] of f32, got 31"},
                 {"one row less", [](Arguments& a) { a.spec.shape[0] = 1; }, SMPO_SHAPE_MISMATCH,
                  "bytes: expected 16 for [1,4] of f32, got 32"}},
       .session = true,
       .spec = true},
      {.name = "smpo_tensor_to_host",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_tensor_to_host(a.session, a.tensor, a.spec_pointer, a.data, a.bytes, e);
           },
       .cases = {null_pointer("data", [](Arguments& a) { a.data = nullptr; }),
                 {"one byte more", [](Arguments& a) { ++a.bytes; }, SMPO_SHAPE_MISMATCH, "bytes: expected 32"},
                 {"another shape",
                  [](Arguments& a) {
                    a.spec.shape[0] = 4;
                    a.spec.shape[1] = 2;
                  },
                  SMPO_SHAPE_MISMATCH, "shape: expected [2,4], got [4,2]"},
                 {"another rank", [](Arguments& a) { a.spec = spec_of(SMPO_F32, {8}); }, SMPO_SHAPE_MISMATCH,
                  "shape: expected [2,4], got [8]"},
                 {"another dtype", [](Arguments& a) { a.spec.dtype = SMPO_I32; }, SMPO_DTYPE_MISMATCH,
                  "dtype: expected f32, got i32"}},
       .session = true,
       .tensor = true,
       .spec = true},
      {.name = "smpo_tensor_describe",
       .call = [](Arguments& a, smpo_error* e) { return smpo_tensor_describe(a.session, a.tensor, a.spec_out, e); },
       .cases = joined({{null_pointer("spec", [](Arguments& a) { a.spec_out = nullptr; })},
                        wrong_size("spec", [](Arguments& a) { return &a.spec_out->size; })}),
       .session = true,
       .tensor = true},
      {.name = "smpo_tensor_convert",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_tensor_convert(a.session, a.tensor, a.dtype, a.tensor_out, e);
           },
       .cases = {null_pointer("converted", [](Arguments& a) { a.tensor_out = nullptr; }),
                 out_of_range("dtype 0", [](Arguments& a) { a.dtype = 0; }, "dtype: expected 1..5, got 0"),
                 out_of_range("dtype 6", [](Arguments& a) { a.dtype = 6; }, "dtype: expected 1..5, got 6"),
                 {"to an integer", [](Arguments& a) { a.dtype = SMPO_I64; }, SMPO_UNSUPPORTED,
                  "dtype: expected a floating type for a tensor of f32, got i64"}},
       .session = true,
       .tensor = true},
      {.name = "smpo_tensor_fill_normal",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_tensor_fill_normal(a.session, a.tensor, a.purpose, 7, a.items_pointer, a.items_count, e);
           },
       .cases = {null_pointer("items", [](Arguments& a) { a.items_pointer = nullptr; }),
                 out_of_range("purpose 256", [](Arguments& a) { a.purpose = 256; }, "purpose: expected 0..255, got 256"),
                 out_of_range("item -1", [](Arguments& a) { a.items[1] = -1; },
                              "items: expected 0..72057594037927935, got -1 at 1"),
                 out_of_range("item 2^56", [](Arguments& a) { a.items[0] = int64_t{1} << 56; }, "items: expected"),
                 {"one item less", [](Arguments& a) { a.items_count = 1; }, SMPO_SHAPE_MISMATCH,
                  "count: expected the tensor's first dimension of [2,4], got 1"}},
       .session = true,
       .tensor = true},
      {.name = "smpo_tensor_close",
       .call = [](Arguments& a, smpo_error* e) { return smpo_tensor_close(a.session, a.tensor, e); },
       .cases = {},
       .session = true,
       .tensor = true},
  };
  return all;
}

class ArgumentsTest : public BorderTest {
 protected:
  ArgumentsTest() {
    const auto spec = spec_of(SMPO_F32, {2, 4});
    tensor_ = zeros(spec);
    closed_tensor_ = zeros(spec);
    EXPECT_OK(smpo_tensor_close(session, closed_tensor_, &error));
    EXPECT_OK(smpo_session_open(&config, &other_session_, &error));
    EXPECT_OK(smpo_tensor_zeros(other_session_, &spec, &foreign_tensor_, &error));
    EXPECT_OK(smpo_session_open(&config, &closed_session_, &error));
    EXPECT_OK(smpo_session_close(closed_session_, &error));
    auto cuda = sized<smpo_cuda_info>();
    EXPECT_OK(smpo_cuda_describe(&cuda, &error));
    has_device_ = cuda.device_count > 0;
  }
  ~ArgumentsTest() override { EXPECT_EQ(smpo_session_close(other_session_, nullptr), SMPO_OK); }

  // Good arguments for any function, over the outputs.
  void fill(Arguments& a) {
    std::memset(static_cast<void*>(&outputs_), 0x5a, sizeof outputs_);
    outputs_.library.size = sizeof outputs_.library;
    outputs_.cpu.size = sizeof outputs_.cpu;
    outputs_.cuda.size = sizeof outputs_.cuda;
    outputs_.device.size = sizeof outputs_.device;
    outputs_.statistics.size = sizeof outputs_.statistics;
    for (smpo_log_record& record : outputs_.records) record.size = sizeof record;
    outputs_.spec.size = sizeof outputs_.spec;
    a.session = session;
    a.tensor = tensor_;
    a.version = &outputs_.version;
    a.text = outputs_.text;
    a.library = &outputs_.library;
    a.cpu = &outputs_.cpu;
    a.cuda = &outputs_.cuda;
    a.device = &outputs_.device;
    a.session_out = &outputs_.session;
    a.statistics = &outputs_.statistics;
    a.records = outputs_.records;
    a.count = &outputs_.count;
    a.tensor_out = &outputs_.tensor;
    a.spec_out = &outputs_.spec;
    a.data = outputs_.data;
  }

  // Calls with one argument spoiled: the status and message are those of the case, and no output has changed.
  void expect_refused(const Function& function, const Case& spoiled, bool from_another_thread = false) {
    SCOPED_TRACE(std::string(function.name) + ": " + spoiled.name);
    Arguments arguments;
    fill(arguments);
    spoiled.spoil(arguments);
    const Outputs before = outputs_;
    auto told = sized<smpo_error>();
    smpo_status status = SMPO_OK;
    const auto call = [&] { status = function.call(arguments, &told); };
    if (from_another_thread) {
      std::thread(call).join();
    } else {
      call();
    }
    EXPECT_EQ(status, spoiled.status);
    EXPECT_EQ(told.code, spoiled.status);
    EXPECT_TRUE(std::string(told.message).starts_with(std::string(function.name) + ": ")) << told.message;
    EXPECT_NE(std::string(told.message).find(spoiled.message), std::string::npos)
        << "expected \"" << spoiled.message << "\" in \"" << told.message << '"';
    EXPECT_EQ(std::memcmp(&before, &outputs_, sizeof before), 0) << "something was written";
  }

  void expect_refused_everywhere(bool Function::* takes, const Case& spoiled) {
    for (const Function& function : functions()) {
      if (function.*takes) expect_refused(function, spoiled);
    }
  }

  bool callable(const Function& function) const {
    return has_device_ || std::string(function.name) != "smpo_cuda_device_describe";
  }

  Outputs outputs_{};
  smpo_tensor tensor_ = 0;
  smpo_tensor closed_tensor_ = 0;
  smpo_tensor foreign_tensor_ = 0;
  smpo_session other_session_ = 0;
  smpo_session closed_session_ = 0;
  bool has_device_ = false;
};

// The parameters of a function, as the header has them.
std::vector<std::string> parameters_of(const std::string& name) {
  std::ifstream in(SMPO_HEADER);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  std::smatch found;
  EXPECT_TRUE(std::regex_search(text, found, std::regex("smpo_status " + name + R"(\(([^)]*)\);)"))) << name;
  const std::string list = found[1];
  const std::regex comma(R"(,\s*)");
  return {std::sregex_token_iterator(list.begin(), list.end(), comma, -1), {}};
}

TEST(ArgumentsTable, CoversEveryFunctionOfTheHeader) {
  std::set<std::string> names;
  for (const Function& function : functions()) names.insert(function.name);
  EXPECT_EQ(names, declared_functions());
}

TEST(ArgumentsTable, CoversEveryParameterOfTheHeader) {
  for (const Function& function : functions()) {
    SCOPED_TRACE(function.name);
    std::vector<Case> cases = function.cases;
    if (function.spec) {
      const std::vector<Case> more = spec_cases();
      cases.insert(cases.end(), more.begin(), more.end());
    }
    const auto starting_with = [&cases](const std::string& text) {
      return std::count_if(cases.begin(), cases.end(), [&](const Case& c) { return c.name.starts_with(text); });
    };
    int pointers = 0;
    int structs = 0;
    bool session = false;
    bool tensor = false;
    const std::vector<std::string> parameters = parameters_of(function.name);
    ASSERT_TRUE(parameters.back().ends_with("*error")) << parameters.back();
    for (size_t i = 0; i + 1 < parameters.size(); ++i) {
      const std::string& parameter = parameters[i];
      const bool pointer = parameter.find('*') != std::string::npos;
      if (pointer) ++pointers;
      const bool handle = parameter.starts_with("smpo_session ") || parameter.starts_with("smpo_tensor ");
      if (pointer && !handle && parameter.find("smpo_") != std::string::npos) ++structs;
      session = session || (!pointer && parameter == "smpo_session session");
      tensor = tensor || (!pointer && parameter == "smpo_tensor tensor");
    }
    EXPECT_EQ(starting_with("null "), pointers);
    EXPECT_EQ(starting_with("size 0 of "), structs);
    EXPECT_EQ(function.session, session);
    EXPECT_EQ(function.tensor, tensor);
  }
}

TEST_F(ArgumentsTest, GoodOnesAreTaken) {
  for (const Function& function : functions()) {
    if (!callable(function)) continue;
    SCOPED_TRACE(function.name);
    // A session and tensor of the call's own: some functions close what they are given.
    smpo_session own_session = 0;
    smpo_tensor own_tensor = 0;
    const auto spec = spec_of(SMPO_F32, {2, 4});
    ASSERT_OK(smpo_session_open(&config, &own_session, &error));
    ASSERT_OK(smpo_tensor_zeros(own_session, &spec, &own_tensor, &error));
    Arguments arguments;
    fill(arguments);
    arguments.session = own_session;
    arguments.tensor = own_tensor;
    std::strcpy(error.message, "untouched");
    EXPECT_OK(function.call(arguments, &error));
    EXPECT_STREQ(error.message, "untouched");
    if (std::string(function.name) == "smpo_session_open") EXPECT_OK(smpo_session_close(outputs_.session, &error));
    smpo_session_close(own_session, nullptr);
  }
}

TEST_F(ArgumentsTest, EachFunctionsOwn) {
  for (const Function& function : functions()) {
    for (const Case& spoiled : function.cases) expect_refused(function, spoiled);
  }
}

TEST_F(ArgumentsTest, Specs) {
  for (const Case& spoiled : spec_cases()) expect_refused_everywhere(&Function::spec, spoiled);
}

TEST_F(ArgumentsTest, SessionHandles) {
  const auto refused = [this](const char* name, smpo_session handle, const char* message) {
    expect_refused_everywhere(&Function::session,
                              {name, [=](Arguments& a) { a.session = handle; }, SMPO_INVALID_HANDLE, message});
  };
  refused("null", 0, "session: expected a session handle, got the null handle");
  refused("closed", closed_session_, "session: the session handle is closed");
  refused("a tensor", tensor_, "session: expected a session handle, got a tensor handle");
  refused("noise", 0x1234'5678'9abc'def0u, "which is no handle of this library");
  refused("a slot that was never used", session + 1'000'000, "which was never handed out");
  refused("a generation that has not come", session + (uint64_t{1} << 40), "which was never handed out");
}

TEST_F(ArgumentsTest, TensorHandles) {
  const auto refused = [this](const char* name, smpo_tensor handle, const char* message) {
    expect_refused_everywhere(&Function::tensor,
                              {name, [=](Arguments& a) { a.tensor = handle; }, SMPO_INVALID_HANDLE, message});
  };
  refused("null", 0, "tensor: expected a tensor handle, got the null handle");
  refused("closed", closed_tensor_, "tensor: the tensor handle is closed");
  refused("a session", session, "tensor: expected a tensor handle, got a session handle");
  refused("of another session", foreign_tensor_, "tensor: the tensor handle belongs to another session");
  refused("noise", UINT64_MAX, "which is no handle of this library");
  refused("a slot that was never used", tensor_ + 1'000'000, "which was never handed out");
}

TEST_F(ArgumentsTest, HandlesClosedTwice) {
  EXPECT_OK(smpo_tensor_close(session, tensor_, &error));
  EXPECT_EQ(smpo_tensor_close(session, tensor_, &error), SMPO_INVALID_HANDLE);
  EXPECT_STREQ(error.message, "smpo_tensor_close: tensor: the tensor handle is closed");
  EXPECT_OK(smpo_session_close(session, &error));
  EXPECT_EQ(smpo_session_close(session, &error), SMPO_INVALID_HANDLE);
  EXPECT_STREQ(error.message, "smpo_session_close: session: the session handle is closed");
  EXPECT_EQ(smpo_tensor_close(other_session_, tensor_, &error), SMPO_INVALID_HANDLE);
  session = 0;
}

TEST_F(ArgumentsTest, ATensorGoesWithItsSession) {
  EXPECT_OK(smpo_session_close(session, &error));
  EXPECT_OK(smpo_session_open(&config, &session, &error));
  for (const Function& function : functions()) {
    if (function.tensor) {
      expect_refused(function, {"of a closed session", [](Arguments&) {}, SMPO_INVALID_HANDLE,
                                "tensor: the tensor handle is closed"});
    }
  }
}

TEST_F(ArgumentsTest, WrongThread) {
  for (const Function& function : functions()) {
    if (!function.session) continue;
    if (std::string(function.name) == "smpo_session_cancel") {
      smpo_status status = SMPO_INTERNAL;
      std::thread([&] { status = smpo_session_cancel(session, nullptr); }).join();
      EXPECT_EQ(status, SMPO_OK) << "the one exception";
      continue;
    }
    expect_refused(function,
                   {"another thread", [](Arguments&) {}, SMPO_WRONG_THREAD,
                    "session: expected a call from the thread that opened it"},
                   /*from_another_thread=*/true);
  }
  EXPECT_EQ(zeros(spec_of(SMPO_F32, {1})) == 0, false) << "the owner is not hindered";
}

TEST_F(ArgumentsTest, PoisonedSession) {
  EXPECT_EQ(smpo_debug_raise(session, SMPO_RAISE_DEVICE_FAULT, 0, &error), SMPO_DEVICE_FAULT);
  for (const Function& function : functions()) {
    if (!function.session || std::string(function.name) == "smpo_session_close") continue;
    if (std::string(function.name) == "smpo_session_cancel") continue;  // reads nothing that a fault could spoil
    expect_refused(function, {"poisoned", [](Arguments&) {}, SMPO_SESSION_POISONED,
                              "session: unusable since an earlier device fault: raised on request"});
  }
}

TEST_F(ArgumentsTest, AnErrorOfAWrongSizeIsNotWritten) {
  for (const Function& function : functions()) {
    SCOPED_TRACE(function.name);
    for (const uint32_t size : {uint32_t{0}, uint32_t{1023}, uint32_t{1025}, UINT32_MAX}) {
      Arguments arguments;
      fill(arguments);
      smpo_error wrong;
      std::memset(static_cast<void*>(&wrong), 0x5a, sizeof wrong);
      wrong.size = size;
      const smpo_error before = wrong;
      const Outputs outputs_before = outputs_;
      EXPECT_EQ(function.call(arguments, &wrong), SMPO_INVALID_ARGUMENT);
      EXPECT_EQ(std::memcmp(&before, &wrong, sizeof before), 0) << "the error was written";
      EXPECT_EQ(std::memcmp(&outputs_before, &outputs_, sizeof outputs_before), 0) << "an output was written";
    }
  }
}

TEST_F(ArgumentsTest, ANullErrorLeavesTheStatus) {
  for (const Function& function : functions()) {
    SCOPED_TRACE(function.name);
    for (const Case& spoiled : function.cases) {
      Arguments arguments;
      fill(arguments);
      spoiled.spoil(arguments);
      EXPECT_EQ(function.call(arguments, nullptr), spoiled.status) << spoiled.name;
    }
    if (function.session) {
      Arguments arguments;
      fill(arguments);
      arguments.session = 0;
      EXPECT_EQ(function.call(arguments, nullptr), SMPO_INVALID_HANDLE);
    }
  }
}

TEST_F(ArgumentsTest, NothingLeaksFromRefusedCalls) {
  const uint32_t open = statistics().open_tensors;
  for (const Function& function : functions()) {
    for (const Case& spoiled : function.cases) {
      Arguments arguments;
      fill(arguments);
      spoiled.spoil(arguments);
      function.call(arguments, nullptr);
    }
  }
  EXPECT_EQ(statistics().open_tensors, open);
}

}  // namespace
}  // namespace smpo::test

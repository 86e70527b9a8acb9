// A small strict JSON reader for golden files. It accepts RFC 8259, except numbers beyond the range of a double and
// surrogate escapes, and throws std::runtime_error with the byte position for anything else.
#ifndef SMPO_TEST_SUPPORT_JSON_H_
#define SMPO_TEST_SUPPORT_JSON_H_

#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace smpo::test {

class Json {
 public:
  using Array = std::vector<Json>;
  /// The members of an object, in file order.
  using Object = std::vector<std::pair<std::string, Json>>;

  Json() = default;
  static Json parse(std::string_view text) {
    Reader reader{text};
    Json value = reader.value();
    reader.skip_space();
    if (reader.at != text.size()) reader.fail("something after the end");
    return value;
  }

  bool is_null() const { return std::holds_alternative<std::nullptr_t>(value_); }
  bool is_array() const { return std::holds_alternative<Array>(value_); }
  bool is_number() const { return std::holds_alternative<double>(value_); }
  bool boolean() const { return get<bool>("a boolean"); }
  double number() const { return get<double>("a number"); }
  int64_t integer() const {
    const double number_value = number();
    if (number_value != std::floor(number_value) || std::abs(number_value) > 0x1p53) {
      throw std::runtime_error("json: expected a whole number");
    }
    return static_cast<int64_t>(number_value);
  }
  const std::string& string() const { return get<std::string>("a string"); }
  const Array& array() const { return get<Array>("an array"); }
  const Object& object() const { return get<Object>("an object"); }
  std::vector<int64_t> integers() const {
    std::vector<int64_t> values;
    for (const Json& element : array()) values.push_back(element.integer());
    return values;
  }

  bool has(std::string_view key) const { return find(key) != nullptr; }
  const Json& operator[](std::string_view key) const {
    const Json* found = find(key);
    if (found == nullptr) throw std::runtime_error("json: no key " + std::string(key));
    return *found;
  }

 private:
  struct Reader {
    std::string_view text;
    size_t at = 0;

    [[noreturn]] void fail(const char* what) const {
      throw std::runtime_error("json: " + std::string(what) + " at byte " + std::to_string(at));
    }
    char peek() const { return at < text.size() ? text[at] : '\0'; }
    void skip_space() {
      while (at < text.size() && std::string_view(" \t\r\n").find(text[at]) != std::string_view::npos) ++at;
    }
    void take(std::string_view expected) {
      if (text.substr(at, expected.size()) != expected) fail("something unexpected");
      at += expected.size();
    }

    Json value() {
      skip_space();
      Json result;
      switch (peek()) {
        case '{':
          result.value_ = object();
          break;
        case '[':
          result.value_ = array();
          break;
        case '"':
          result.value_ = string();
          break;
        case 't':
          take("true");
          result.value_ = true;
          break;
        case 'f':
          take("false");
          result.value_ = false;
          break;
        case 'n':
          take("null");
          break;
        default:
          result.value_ = number();
      }
      return result;
    }

    Object object() {
      Object result;
      take("{");
      skip_space();
      if (peek() == '}') return ++at, result;
      while (true) {
        skip_space();
        std::string key = string();
        for (const auto& [known, ignored] : result) {
          if (known == key) fail("a key for the second time");
        }
        skip_space();
        take(":");
        result.emplace_back(std::move(key), value());
        skip_space();
        if (peek() == '}') return ++at, result;
        take(",");
      }
    }

    Array array() {
      Array result;
      take("[");
      skip_space();
      if (peek() == ']') return ++at, result;
      while (true) {
        result.push_back(value());
        skip_space();
        if (peek() == ']') return ++at, result;
        take(",");
      }
    }

    std::string string() {
      std::string result;
      take("\"");
      while (peek() != '"') {
        if (at >= text.size() || static_cast<unsigned char>(text[at]) < 0x20) fail("a string without an end");
        if (text[at] != '\\') {
          result += text[at++];
          continue;
        }
        ++at;
        const char escape = peek();
        const size_t known = std::string_view("\"\\/bfnrt").find(escape);
        if (known == std::string_view::npos || escape == '\0') fail("an escape that this reader does not know");
        result += "\"\\/\b\f\n\r\t"[known];
        ++at;
      }
      ++at;
      return result;
    }

    double number() {
      const size_t digit = at + (peek() == '-' ? 1 : 0);
      if (digit >= text.size() || !std::isdigit(static_cast<unsigned char>(text[digit]))) fail("no value");
      if (text[digit] == '0' && digit + 1 < text.size() && std::isdigit(static_cast<unsigned char>(text[digit + 1]))) {
        fail("a number that begins with 0");
      }
      double result = 0;
      const auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), result);
      if (error != std::errc()) fail("a number out of range");
      at = static_cast<size_t>(end - text.data());
      if (text[at - 1] == '.') fail("a number that ends with a point");
      return result;
    }
  };

  template <typename Value>
  const Value& get(const char* what) const {
    const Value* value = std::get_if<Value>(&value_);
    if (value == nullptr) throw std::runtime_error("json: expected " + std::string(what));
    return *value;
  }
  const Json* find(std::string_view key) const {
    for (const auto& [name, value] : object()) {
      if (name == key) return &value;
    }
    return nullptr;
  }

  std::variant<std::nullptr_t, bool, double, std::string, Array, Object> value_ = nullptr;
};

}  // namespace smpo::test

#endif  // SMPO_TEST_SUPPORT_JSON_H_

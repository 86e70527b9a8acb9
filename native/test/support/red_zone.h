// A buffer between two inaccessible guard pages. At the upper page, an access one element past the end faults at once;
// at the lower page, an access before the start does. The rest of the buffer's own pages holds canary bytes, which
// `intact` checks, so a write on that side is detected as well.
#ifndef SMPO_TEST_SUPPORT_RED_ZONE_H_
#define SMPO_TEST_SUPPORT_RED_ZONE_H_

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <span>
#include <vector>

namespace smpo::test {

enum class Flush {
  kEnd,   // the buffer ends at the upper guard page; its alignment depends on its size
  kStart  // the buffer begins after the lower guard page and is page-aligned
};

template <class T>
class RedZone {
 public:
  explicit RedZone(size_t count, Flush flush = Flush::kEnd) : count_(count) {
    page_ = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    inner_ = std::max(page_, (count * sizeof(T) + page_ - 1) / page_ * page_);
    void* mapping = mmap(nullptr, inner_ + 2 * page_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) throw std::bad_alloc();
    mapping_ = static_cast<unsigned char*>(mapping);
    make_writable();
    std::fill_n(mapping_ + page_, inner_, kCanary);
    unsigned char* first = mapping_ + page_ + (flush == Flush::kEnd ? inner_ - count * sizeof(T) : 0);
    data_ = reinterpret_cast<T*>(first);
  }

  RedZone(const std::vector<T>& values, Flush flush = Flush::kEnd) : RedZone(values.size(), flush) {
    std::copy(values.begin(), values.end(), data_);
  }

  ~RedZone() { munmap(mapping_, inner_ + 2 * page_); }
  RedZone(const RedZone&) = delete;
  RedZone& operator=(const RedZone&) = delete;

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return count_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  std::span<const T> span() const { return {data_, count_}; }
  std::vector<T> vector() const { return {data_, data_ + count_}; }

  /// Makes every later write into the buffer fault; for the inputs of a kernel.
  void freeze() { protect(PROT_READ); }

  void make_writable() { protect(PROT_READ | PROT_WRITE); }

  /// Whether no canary byte has been written.
  bool intact() const {
    const unsigned char* begin = mapping_ + page_;
    const unsigned char* end = begin + inner_;
    const auto* first = reinterpret_cast<const unsigned char*>(data_);
    const unsigned char* last = first + count_ * sizeof(T);
    const auto is_canary = [](unsigned char byte) { return byte == kCanary; };
    return std::all_of(begin, first, is_canary) && std::all_of(last, end, is_canary);
  }

 private:
  static constexpr unsigned char kCanary = 0xA5;

  void protect(int protection) {
    if (mprotect(mapping_ + page_, inner_, protection) != 0) std::abort();
  }

  size_t count_;
  size_t page_;
  size_t inner_;
  unsigned char* mapping_;
  T* data_;
};

}  // namespace smpo::test

#endif  // SMPO_TEST_SUPPORT_RED_ZONE_H_

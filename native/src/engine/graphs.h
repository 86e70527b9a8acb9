// Device work that is recorded once and replayed: a CUDA graph launches the thousand kernels of a UNet with one call.
//
// Recorded work reads and writes memory that stays in place: the caller fills the entry's memory, runs the work and
// reads the results. The work depends on the key and on that memory only, and it only queues device work. It can
// therefore run in three ways with the same result: directly, while it is being recorded, or by replay.
#ifndef SMPO_ENGINE_GRAPHS_H_
#define SMPO_ENGINE_GRAPHS_H_

#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace smpo::engine {

class Device;

// Recorded work.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual void replay() = 0;
};

// Records work on the current device and stream.
class Recorder {
 public:
  virtual ~Recorder() = default;
  // Runs the function once, recording its device work instead of executing it. Passes on exceptions of the function and
  // of the device; the device is then in the same state as before.
  virtual std::unique_ptr<Recording> record(const std::function<void()>& work) = 0;
};

// Returns null for a device that cannot record: the CPU.
std::unique_ptr<Recorder> recorder_for(const Device& device);

// Everything that recorded work depends on besides the values in its memory.
class GraphKey final {
 public:
  template <typename Value>
  GraphKey& add(const Value& value) {
    static_assert(std::has_unique_object_representations_v<Value> || std::is_floating_point_v<Value>,
                  "bytes between the fields would be compared");
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  // Bytes without gaps that nobody writes.
  GraphKey& add_bytes(const void* bytes, size_t count) {
    bytes_.append(static_cast<const char*>(bytes), count);
    return *this;
  }
  template <typename Values>
  GraphKey& add_all(const Values& values) {
    add(static_cast<uint64_t>(values.size()));
    for (const auto& value : values) add(value);
    return *this;
  }

  friend bool operator==(const GraphKey&, const GraphKey&) = default;

 private:
  std::string bytes_;
};

// The recordings of one model. `Memory` is a struct of tensors. Used by one thread.
template <typename Memory>
class Graphs final {
 public:
  // Number of direct runs before a key is recorded. Libraries choose algorithms and allocate workspaces when they first
  // see a shape, which may wait for the device.
  static constexpr int kWarmUps = 2;
  // Most entries. A few shapes come back again and again, such as a smaller last micro-batch or a shrinking inversion
  // batch. The least recently used entry is evicted.
  static constexpr size_t kMost = 12;

  class Entry final {
   public:
    Memory memory = {};

    bool recorded() const { return recording_ != nullptr; }

   private:
    friend class Graphs;
    GraphKey key_;
    int calls_ = 0;
    bool refused_ = false;
    std::unique_ptr<Recording> recording_;
  };

  // Returns the entry of a key, with empty memory if it is new. Valid until the next call.
  Entry& entry(const GraphKey& key) {
    for (auto place = entries_.begin(); place != entries_.end(); ++place) {
      if (place->key_ == key) {
        entries_.splice(entries_.begin(), entries_, place);
        return entries_.front();
      }
    }
    if (entries_.size() >= kMost) entries_.pop_back();
    entries_.emplace_front().key_ = key;
    return entries_.front();
  }

  // Runs the work. If it cannot be recorded, calls `refuse` with the reason, once per key, and runs the work directly
  // from then on.
  void run(Entry& entry, Recorder& recorder, const std::function<void()>& work,
           const std::function<void(const char*)>& refuse) {
    if (!entry.recorded() && !entry.refused_ && entry.calls_++ >= kWarmUps) {
      try {
        entry.recording_ = recorder.record(work);
      } catch (const std::exception& error) {
        entry.refused_ = true;
        refuse(error.what());
      }
    }
    if (entry.recorded()) {
      entry.recording_->replay();
    } else {
      work();
    }
  }

  size_t size() const { return entries_.size(); }
  void clear() { entries_.clear(); }

 private:
  std::list<Entry> entries_;  // most recently used first
};

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_GRAPHS_H_

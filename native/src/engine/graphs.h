// Device work that is recorded once and played again: a CUDA graph starts the thousand kernels of a UNet with one call.
//
// What is recorded reads and writes memory that stays where it is: a caller fills the entry's memory, runs the work,
// and takes the results out. The work is whatever follows from the key and from that memory alone, queues device work
// and nothing else, and may therefore run in three ways with the same result: by itself, while it is recorded, or
// played back.
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

// Work that has been recorded.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual void replay() = 0;
};

// Records on the device and stream that are current.
class Recorder {
 public:
  virtual ~Recorder() = default;
  // Runs the function once, recording in place of executing. Throws what the function or the device throws; the device
  // is then as if nothing had been asked of it.
  virtual std::unique_ptr<Recording> record(const std::function<void()>& work) = 0;
};

// Null where the device has nothing to record with: the CPU.
std::unique_ptr<Recorder> recorder_for(const Device& device);

// What recorded work depends on besides the values in its memory.
class GraphKey final {
 public:
  template <typename Value>
  GraphKey& add(const Value& value) {
    static_assert(std::has_unique_object_representations_v<Value> || std::is_floating_point_v<Value>,
                  "bytes between the fields would be compared");
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
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

// The recordings of one model. Memory: a struct of tensors. Used by one thread.
template <typename Memory>
class Graphs final {
 public:
  // Libraries choose plans and make workspaces when they first see a shape, which may wait for the device: so a key's
  // first calls run by themselves.
  static constexpr int kWarmUps = 2;
  // A last micro-batch, a shrinking inversion batch: a few shapes come again and again. Of others the one that was used
  // longest ago goes.
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

  // The key's own entry, with fresh memory when it is new. Good until the next call.
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

  // Does the work. `refuse` is told, once per key, why it could not be recorded; it then goes on running by itself.
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
  std::list<Entry> entries_;  // the latest used first
};

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_GRAPHS_H_

// Continuous batching for DDIM inversion: which image occupies which place of the UNet's batch, and which step it
// takes.
//
// Every image has its own list of steps. As soon as one is done, the next image takes its place, so the batch stays
// full until the last few images. This class holds no tensors; inversion.cpp moves the data that it describes.
//
// ```text
//   while (const int64_t images = schedule.images()) {
//     schedule.resize(n);       // n >= images places; moves the images under way to the front
//     schedule.admit();         // waiting images take free places
//     ... evaluate the UNet on places(), update the latents ...
//     schedule.advance();       // half a step for every image; finished images leave
//   }
// ```
#ifndef SMPO_ENGINE_INVERSION_SCHEDULE_H_
#define SMPO_ENGINE_INVERSION_SCHEDULE_H_

#include <cstdint>
#include <span>
#include <vector>

namespace smpo::engine {

class InversionSchedule final {
 public:
  // One place of the batch: empty, or an image with its next step.
  struct Place {
    int64_t row = -1;
    int32_t step = 0;     // index into the plan's tables
    bool second = false;  // the first of two predictions of an averaging step has been made

    bool empty() const { return row < 0; }
  };
  struct Move {
    int64_t from, to;  // places
  };
  struct Finished {
    int64_t place, row;
  };

  // Row r takes the steps row_start[r] .. row_start[r + 1] - 1; `averages` has one flag per step. Both arrays have been
  // checked and must outlive the schedule. Of pairs, rows 0 .. rows / 2 - 1 are winners, the others losers. `batch`:
  // most images in one UNet evaluation. `images`: 2 for pairs, 1 for single images.
  InversionSchedule(std::span<const int32_t> row_start, std::span<const uint8_t> averages, int64_t batch,
                    int64_t images = 2);

  // Images that take no step: they are finished from the start.
  const std::vector<int64_t>& rows_without_steps() const { return without_steps_; }

  // Number of images in the next evaluation: those under way and those waiting, at most the batch size. Never grows.
  // 0: every image is finished.
  int64_t images() const;

  // Smallest of batch, batch / 2, batch / 4, ... (rounded up) that holds this many images: the batch sizes for which
  // recording a CUDA graph pays off.
  int64_t recorded_size(int64_t images) const;

  // Changes the number of places. Images under way move to the first places, in order; returns the moves, among them
  // those of images that stay where they are. No moves when the number stays the same.
  std::vector<Move> resize(int64_t places);

  // Waiting images take free places until images() are under way. Returns the places that were filled.
  std::vector<int64_t> admit();

  // Counts the evaluation that was made: an averaging step needs two of them, any other step one. Images whose last
  // step is done leave their place; returns them.
  std::vector<Finished> advance();

  const std::vector<Place>& places() const { return places_; }
  // An image under way or waiting. There must be one.
  int64_t any_row() const;

  // Whether the step needs a second prediction, which has not been made yet.
  bool is_first_guess(const Place& place) const { return averages_[index(place.step)] != 0 && !place.second; }
  bool is_last_step(const Place& place) const { return place.step == row_start_[index(place.row) + 1] - 1; }
  // Position of the step in its image's list.
  int64_t step_of_image(const Place& place) const { return place.step - row_start_[index(place.row)]; }

 private:
  static size_t index(int64_t value) { return static_cast<size_t>(value); }
  int64_t under_way() const;

  std::span<const int32_t> row_start_;
  std::span<const uint8_t> averages_;
  int64_t batch_;
  std::vector<int64_t> without_steps_;
  std::vector<int64_t> waiting_;  // the next image is the last entry
  std::vector<Place> places_;
};

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_INVERSION_SCHEDULE_H_

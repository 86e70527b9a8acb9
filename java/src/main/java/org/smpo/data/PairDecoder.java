package org.smpo.data;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.function.Predicate;
import org.smpo.io.ImageException;
import org.smpo.io.Images;
import org.smpo.io.RgbImage;
import org.smpo.random.Philox;
import org.smpo.random.PhiloxStream;
import org.smpo.random.Purpose;

/// Prepares pairs for training: places and decodes their images and drops captions.
///
/// Random choices are a pure function of (seed, epoch, image), or of the pair for captions; images are
/// numbered 2 × pair and 2 × pair + 1. Images are decoded on virtual threads, a bounded number at a time;
/// neither that number nor the order in which they finish shows in the result. Safe for use from any thread.
public final class PairDecoder {
    private final DecodeOptions options;
    private final Philox philox;

    /// @param seed seed of the run
    public PairDecoder(DecodeOptions options, long seed) {
        this.options = options;
        this.philox = new Philox(seed);
    }

    /// Reads and decodes a batch.
    ///
    /// @param uses pairs of the batch
    /// @param cached true for an image whose pixels are not needed; asked on the decoding threads
    /// @throws IOException when the source cannot be read; a bad record is part of the result instead
    /// @throws InterruptedException when the thread is interrupted; nothing continues in the background
    public PreparedBatch<PreparedPair> prepare(PairSource source, List<PairUse> uses, Predicate<PreparedImage> cached)
            throws IOException, InterruptedException {
        List<PairRecord> records = source.read(uses.stream().map(PairUse::pair).toList());
        Semaphore permits = new Semaphore(options.threads());
        List<PreparedPair> pairs = new ArrayList<>(uses.size());
        List<BadPair> bad = new ArrayList<>();
        try (ExecutorService executor = Executors.newVirtualThreadPerTaskExecutor()) {
            List<List<Future<PreparedImage>>> images = new ArrayList<>(uses.size());
            for (int i = 0; i < uses.size(); i++) {
                List<Future<PreparedImage>> both = new ArrayList<>(2);
                if (records.get(i) instanceof PreferencePair pair) {
                    PairUse use = uses.get(i);
                    for (int which = 0; which < 2; which++) {
                        int image = which;
                        both.add(executor.submit(() -> {
                            permits.acquire();
                            try {
                                return prepare(pair.image(image), use, image, cached);
                            } finally {
                                permits.release();
                            }
                        }));
                    }
                }
                images.add(both);
            }
            try {
                for (int i = 0; i < uses.size(); i++) {
                    switch (records.get(i)) {
                        case BadPair broken -> bad.add(broken);
                        case PreferencePair pair -> collect(pair, uses.get(i), images.get(i), pairs, bad);
                    }
                }
            } catch (IOException | InterruptedException | RuntimeException | Error e) {
                executor.shutdownNow();
                throw e;
            }
        }
        return new PreparedBatch<>(List.copyOf(pairs), List.copyOf(bad));
    }

    /// Reads and decodes a batch of single images.
    ///
    /// @param uses images of the batch by their index in the source
    /// @param cached true for an image whose pixels are not needed; asked on the decoding threads
    /// @throws IOException when the source cannot be read; a bad record is part of the result instead
    /// @throws InterruptedException when the thread is interrupted; nothing continues in the background
    public PreparedBatch<PreparedSingle> prepareSingle(
            ImageSource source, List<PairUse> uses, Predicate<PreparedImage> cached)
            throws IOException, InterruptedException {
        List<ImageRecord> records = source.read(uses.stream().map(PairUse::pair).toList());
        Semaphore permits = new Semaphore(options.threads());
        List<PreparedSingle> singles = new ArrayList<>(uses.size());
        List<BadPair> bad = new ArrayList<>();
        try (ExecutorService executor = Executors.newVirtualThreadPerTaskExecutor()) {
            List<Future<PreparedImage>> images = new ArrayList<>(uses.size());
            for (int i = 0; i < uses.size(); i++) {
                long epoch = uses.get(i).epoch();
                images.add(
                        records.get(i) instanceof SingleImage single
                                ? executor.submit(() -> {
                                    permits.acquire();
                                    try {
                                        PairUse pair = new PairUse(single.pair(), epoch);
                                        return prepare(single.image(), pair, single.which(), cached);
                                    } finally {
                                        permits.release();
                                    }
                                })
                                : null);
            }
            try {
                for (int i = 0; i < uses.size(); i++) {
                    switch (records.get(i)) {
                        case BadPair broken -> bad.add(broken);
                        case SingleImage single -> {
                            PairUse use = uses.get(i);
                            boolean dropped = captionDropped(new PairUse(single.pair(), use.epoch()));
                            Optional<PreparedImage> image = image(images.get(i), single.index(), single.id(), bad);
                            if (image.isPresent()) {
                                singles.add(new PreparedSingle(
                                        use, i, single.id(), dropped ? "" : single.caption(), image.get()));
                            }
                        }
                    }
                }
            } catch (IOException | InterruptedException | RuntimeException | Error e) {
                executor.shutdownNow();
                throw e;
            }
        }
        return new PreparedBatch<>(List.copyOf(singles), List.copyOf(bad));
    }

    /// Waits for an image; an image that cannot be used joins the bad ones.
    private static Optional<PreparedImage> image(Future<PreparedImage> image, int index, String id, List<BadPair> bad)
            throws IOException, InterruptedException {
        try {
            return Optional.of(image.get());
        } catch (ExecutionException e) {
            switch (e.getCause()) {
                case ImageException broken -> bad.add(new BadPair(index, id, Problem.of(broken), broken.getMessage()));
                case BadPairException broken -> bad.add(broken.of(index, id));
                case RuntimeException failure -> throw failure;
                case Error failure -> throw failure;
                case null, default -> throw new IOException(id + ": " + e.getCause(), e);
            }
            return Optional.empty();
        }
    }

    private void collect(
            PreferencePair pair,
            PairUse use,
            List<Future<PreparedImage>> images,
            List<PreparedPair> pairs,
            List<BadPair> bad)
            throws IOException, InterruptedException {
        Optional<PreparedImage> image0 = image(images.get(0), pair.index(), pair.id(), bad);
        if (image0.isEmpty()) {
            return;
        }
        Optional<PreparedImage> image1 = image(images.get(1), pair.index(), pair.id(), bad);
        if (image1.isEmpty()) {
            return;
        }
        boolean dropped = captionDropped(use);
        pairs.add(new PreparedPair(
                use,
                pair.id(),
                dropped ? "" : pair.caption(),
                dropped,
                image0.get(),
                image1.get(),
                pair.people(),
                pair.scores()));
    }

    private boolean captionDropped(PairUse use) {
        return philox.uniformDouble(Purpose.CAPTION_DROPOUT, use.epoch(), use.pair()) < options.captionDropout();
    }

    private PreparedImage prepare(EncodedImage encoded, PairUse use, int which, Predicate<PreparedImage> cached)
            throws ImageException, BadPairException {
        Images.Header header = encoded.header();
        PreparedImage image = PreparedImage.of(encoded, placement(encoded.source(), header, use, which));
        return cached.test(image) ? image : image.decode();
    }

    private ImagePlacement placement(String source, Images.Header header, PairUse use, int which)
            throws BadPairException {
        int side = options.resolution();
        long longer = Math.max(header.width(), header.height());
        long shorter = Math.min(header.width(), header.height());
        if (side * (side * longer / shorter) > Images.MAX_PIXELS) {
            throw new BadPairException(
                    Problem.IMAGE_TOO_LARGE,
                    source + ": expected at most " + Images.MAX_PIXELS + " pixels when its shorter side has " + side
                            + ", found an image of " + header.width() + "x" + header.height());
        }
        int width = ImagePlacement.resized(header.width(), header.height(), side);
        int height = ImagePlacement.resized(header.height(), header.width(), side);
        long item = 2L * use.pair() + (options.shared() ? 0 : which);
        int top;
        int left;
        if (options.crop() == Crop.RANDOM) {
            // Torchvision chooses the row first.
            PhiloxStream places = philox.stream(Purpose.CROP, use.epoch(), item);
            top = places.nextInt(height - side + 1);
            left = places.nextInt(width - side + 1);
        } else {
            top = RgbImage.centreCropStart(height, side);
            left = RgbImage.centreCropStart(width, side);
        }
        boolean mirrored = options.flip() && philox.uniformDouble(Purpose.FLIP, use.epoch(), item) < 0.5;
        return new ImagePlacement(
                header.width(), header.height(), side, top, mirrored ? width - side - left : left, mirrored);
    }
}

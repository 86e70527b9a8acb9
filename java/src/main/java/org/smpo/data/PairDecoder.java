package org.smpo.data;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import org.smpo.io.ImageException;
import org.smpo.io.Images;
import org.smpo.io.Resample;
import org.smpo.io.RgbImage;
import org.smpo.random.Philox;
import org.smpo.random.PhiloxStream;
import org.smpo.random.Purpose;

/// Turns encoded pairs into pixels: decodes, resizes, crops, mirrors, and drops captions.
///
/// What is random is a pure function of (seed, epoch, image), or pair for captions; images are numbered 2 × pair
/// and 2 × pair + 1. Images are decoded on virtual threads, a bounded number at a time; neither that number nor the
/// order in which they finish shows in the result. Safe for use from any thread.
public final class PairDecoder {
    private final DecodeOptions options;
    private final Philox philox;

    /// @param seed of the run
    public PairDecoder(DecodeOptions options, long seed) {
        this.options = options;
        this.philox = new Philox(seed);
    }

    public DecodeOptions options() {
        return options;
    }

    /// Reads and decodes a window.
    ///
    /// @throws IOException when the source cannot be read; a bad record is part of the result instead
    /// @throws InterruptedException when the thread is interrupted; nothing goes on in the background
    public DecodedWindow decode(PairSource source, List<Draw> draws) throws IOException, InterruptedException {
        List<PairRecord> records = source.read(draws.stream().map(Draw::pair).toList());
        Semaphore slots = new Semaphore(options.threads());
        List<DecodedPair> pairs = new ArrayList<>(draws.size());
        List<BadPair> bad = new ArrayList<>();
        try (ExecutorService executor = Executors.newVirtualThreadPerTaskExecutor()) {
            List<List<Future<DecodedImage>>> images = new ArrayList<>(draws.size());
            for (int i = 0; i < draws.size(); i++) {
                List<Future<DecodedImage>> both = new ArrayList<>(2);
                if (records.get(i) instanceof PreferencePair pair) {
                    Draw draw = draws.get(i);
                    for (int which = 0; which < 2; which++) {
                        int image = which;
                        both.add(executor.submit(() -> {
                            slots.acquire();
                            try {
                                return decode(pair, draw, image);
                            } finally {
                                slots.release();
                            }
                        }));
                    }
                }
                images.add(both);
            }
            try {
                for (int i = 0; i < draws.size(); i++) {
                    switch (records.get(i)) {
                        case BadPair broken -> bad.add(broken);
                        case PreferencePair pair -> collect(pair, draws.get(i), images.get(i), pairs, bad);
                    }
                }
            } catch (IOException | InterruptedException | RuntimeException e) {
                executor.shutdownNow();
                throw e;
            }
        }
        return new DecodedWindow(List.copyOf(pairs), List.copyOf(bad));
    }

    private void collect(
            PreferencePair pair,
            Draw draw,
            List<Future<DecodedImage>> images,
            List<DecodedPair> pairs,
            List<BadPair> bad)
            throws IOException, InterruptedException {
        try {
            DecodedImage image0 = images.get(0).get();
            DecodedImage image1 = images.get(1).get();
            boolean dropped = captionDropped(draw);
            pairs.add(new DecodedPair(
                    draw,
                    pair.id(),
                    dropped ? "" : pair.caption(),
                    dropped,
                    image0,
                    image1,
                    pair.people(),
                    pair.scores()));
        } catch (ExecutionException e) {
            switch (e.getCause()) {
                case ImageException image ->
                    bad.add(new BadPair(pair.index(), pair.id(), problem(image), image.getMessage()));
                case BadPairException broken -> bad.add(broken.of(pair.index(), pair.id()));
                case RuntimeException failure -> throw failure;
                case null, default -> throw new IOException(pair.id() + ": " + e.getCause(), e);
            }
        }
    }

    /// Which problem a picture's exception is.
    static Problem problem(ImageException e) {
        return switch (e.reason()) {
            case EMPTY -> Problem.EMPTY_IMAGE;
            case FORMAT -> Problem.UNKNOWN_FORMAT;
            case TRUNCATED -> Problem.TRUNCATED_IMAGE;
            case CORRUPT -> Problem.CORRUPT_IMAGE;
            case TOO_LARGE -> Problem.IMAGE_TOO_LARGE;
        };
    }

    /// Whether the caption is dropped, for both images of the pair.
    public boolean captionDropped(Draw draw) {
        return philox.uniformDouble(Purpose.CAPTION_DROPOUT, draw.epoch(), draw.pair()) < options.captionDropout();
    }

    private DecodedImage decode(PreferencePair pair, Draw draw, int which) throws ImageException, BadPairException {
        RgbImage image = pair.image(which).decode();
        int side = options.resolution();
        long longer = Math.max(image.width(), image.height());
        long shorter = Math.min(image.width(), image.height());
        if (side * (side * longer / shorter) > Images.MAX_PIXELS) {
            throw new BadPairException(
                    Problem.IMAGE_TOO_LARGE,
                    pair.image(which).source() + ": expected at most " + Images.MAX_PIXELS
                            + " pixels when its shorter side has " + side + ", found a picture of " + image.width()
                            + "x" + image.height());
        }
        RgbImage resized = Resample.shorterSide(image, side, Resample.Filter.BILINEAR);
        long item = 2L * draw.pair() + (options.shared() ? 0 : which);
        int top;
        int left;
        if (options.crop() == Crop.RANDOM) {
            // Torchvision draws the row first.
            PhiloxStream places = philox.stream(Purpose.CROP, draw.epoch(), item);
            top = places.nextInt(resized.height() - side + 1);
            left = places.nextInt(resized.width() - side + 1);
        } else {
            top = RgbImage.centreCropStart(resized.height(), side);
            left = RgbImage.centreCropStart(resized.width(), side);
        }
        RgbImage square = resized.crop(left, top, side, side);
        boolean mirrored = options.flip() && philox.uniformDouble(Purpose.FLIP, draw.epoch(), item) < 0.5;
        return new DecodedImage(
                mirrored ? square.mirrored() : square,
                image.width(),
                image.height(),
                top,
                mirrored ? resized.width() - side - left : left,
                mirrored);
    }
}

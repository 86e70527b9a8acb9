package org.smpo.data;

import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;
import org.smpo.io.ImageException;
import org.smpo.io.Images;
import org.smpo.objective.HumanChoice;

/// Reads every record of a source, decodes every image and reports what is wrong, so that a run does not
/// find out.
public final class DataCheck {
    private static final int CHUNK = 32;
    private static final int TINY_SIDE = 64;
    private static final int EXTREME_ASPECT = 4;

    /// Number of characters; 77 tokens are rarely more than 400.
    private static final int LONG_CAPTION = 1000;

    private final PairSource source;
    private final DataReport report;
    private final Set<String> ids = new HashSet<>();
    private final Map<String, Integer> images = new HashMap<>();
    private final Map<String, PreferenceSeen> pairs = new HashMap<>();

    private DataCheck(PairSource source) throws IOException {
        this.source = source;
        this.report = new DataReport(source, source.fingerprint());
    }

    /// The first pair of a caption and two images: who won, in the order of the images' digests.
    private record PreferenceSeen(int index, String winner) {}

    /// Properties of a decoded image that are kept.
    private record Checked(String sha256, Images.Header header, Images.Traits traits) {}

    /// Checks a source.
    ///
    /// @param threads number of images decoded at the same time
    /// @param progress told the number of records that are done
    /// @throws IOException when the source cannot be read
    public static DataReport run(PairSource source, int threads, IntConsumer progress)
            throws IOException, InterruptedException {
        DataCheck check = new DataCheck(source);
        Semaphore permits = new Semaphore(threads);
        try (ExecutorService executor = Executors.newVirtualThreadPerTaskExecutor()) {
            try {
                for (int first = 0; first < source.size(); first += CHUNK) {
                    int end = Math.min(first + CHUNK, source.size());
                    check.chunk(first, end, executor, permits);
                    progress.accept(end);
                }
            } catch (IOException | InterruptedException | RuntimeException e) {
                executor.shutdownNow();
                throw e;
            }
        }
        return check.report;
    }

    private void chunk(int first, int end, ExecutorService executor, Semaphore permits)
            throws IOException, InterruptedException {
        List<PairRecord> records =
                source.read(IntStream.range(first, end).boxed().toList());
        List<List<Future<Checked>>> decoded = new ArrayList<>();
        for (PairRecord record : records) {
            List<Future<Checked>> both = new ArrayList<>(2);
            if (record instanceof PreferencePair pair) {
                for (int which = 0; which < 2; which++) {
                    EncodedImage image = pair.image(which);
                    both.add(executor.submit(() -> {
                        permits.acquire();
                        try {
                            return new Checked(image.sha256(), image.header(), image.traits());
                        } finally {
                            permits.release();
                        }
                    }));
                }
            }
            decoded.add(both);
        }
        for (int i = 0; i < records.size(); i++) {
            switch (records.get(i)) {
                case BadPair bad -> report.add(bad.problem(), bad.index(), bad.id(), bad.message());
                case PreferencePair pair -> check(pair, decoded.get(i));
            }
        }
    }

    private void check(PreferencePair pair, List<Future<Checked>> images) throws IOException, InterruptedException {
        List<Checked> checked = new ArrayList<>(2);
        for (Future<Checked> image : images) {
            try {
                checked.add(image.get());
            } catch (ExecutionException e) {
                if (!(e.getCause() instanceof ImageException broken)) {
                    throw new IOException(pair.id() + ": " + e.getCause(), e);
                }
                add(Problem.of(broken), pair, broken.getMessage());
                return;
            }
        }
        label(pair);
        caption(pair);
        for (int which = 0; which < 2; which++) {
            image(pair, which, checked.get(which));
            traits(pair, which, checked.get(which).traits);
        }
        duplicates(pair, checked.get(0).sha256, checked.get(1).sha256);
    }

    private void add(Problem problem, PreferencePair pair, String message) {
        report.add(problem, pair.index(), pair.id(), message);
    }

    private void label(PreferencePair pair) {
        if (pair.people() == HumanChoice.TIE) {
            add(Problem.TIE, pair, pair.id() + ": neither image is better");
        } else if (pair.people() == HumanChoice.UNKNOWN && pair.scores().isEmpty()) {
            add(Problem.MISSING_LABEL, pair, pair.id() + ": expected a label or scores, found neither");
        }
    }

    private void caption(PreferencePair pair) {
        int length = pair.caption().length();
        if (pair.caption().isBlank()) {
            add(Problem.EMPTY_CAPTION, pair, pair.id() + ": expected a caption, found an empty one");
        } else if (length > LONG_CAPTION) {
            add(
                    Problem.LONG_CAPTION,
                    pair,
                    pair.id() + ": expected at most " + LONG_CAPTION + " characters, found " + length);
        }
    }

    private void image(PreferencePair pair, int which, Checked checked) {
        Images.Header header = checked.header;
        report.addImage(header);
        int shorter = Math.min(header.width(), header.height());
        int longer = Math.max(header.width(), header.height());
        String where = pair.image(which).source();
        if (shorter < TINY_SIDE) {
            add(
                    Problem.TINY_IMAGE,
                    pair,
                    where + ": expected sides of " + TINY_SIDE + " pixels or more, found " + header.width() + "x"
                            + header.height());
        }
        if (longer > (long) EXTREME_ASPECT * shorter) {
            add(
                    Problem.EXTREME_ASPECT,
                    pair,
                    where + ": expected a side at most " + EXTREME_ASPECT + " times the other, found " + header.width()
                            + "x" + header.height());
        }
    }

    /// Reports what viewers show and Pillow's plain decoding ignores.
    private void traits(PreferencePair pair, int which, Images.Traits traits) {
        String where = pair.image(which).source();
        if (traits.turned()) {
            add(Problem.TURNED_IMAGE, pair, where + ": it has an EXIF orientation, which is applied");
        }
        if (traits.transparent()) {
            add(Problem.TRANSPARENT_IMAGE, pair, where + ": it has transparent pixels, which are blended on white");
        }
        if (traits.wideGrey()) {
            add(Problem.WIDE_GREY_IMAGE, pair, where + ": it is grey with 16 bits, which are scaled to 8");
        }
    }

    private void duplicates(PreferencePair pair, String image0, String image1) {
        if (!ids.add(pair.id())) {
            add(Problem.DUPLICATE_ID, pair, pair.id() + ": expected ids that differ, found this one before");
        }
        if (image0.equals(image1)) {
            add(Problem.IDENTICAL_IMAGES, pair, pair.id() + ": expected two images, found the same one twice");
        }
        boolean ordered = image0.compareTo(image1) <= 0;
        String key = (ordered ? image0 + image1 : image1 + image0) + pair.caption();
        String winner = switch (pair.people()) {
            case IMAGE_0 -> image0;
            case IMAGE_1 -> image1;
            case TIE -> "tie";
            case UNKNOWN -> "";
        };
        PreferenceSeen seen = pairs.putIfAbsent(key, new PreferenceSeen(pair.index(), winner));
        if (seen != null) {
            boolean same = seen.winner.equals(winner);
            add(
                    same ? Problem.DUPLICATE_PAIR : Problem.CONTRADICTING_PAIR,
                    pair,
                    pair.id() + ": the same pair as record " + seen.index + (same ? "" : ", with another winner"));
        }
        for (String image : image0.equals(image1) ? List.of(image0) : List.of(image0, image1)) {
            Integer first = images.putIfAbsent(image, pair.index());
            if (first != null && seen == null) {
                add(Problem.DUPLICATE_IMAGE, pair, pair.id() + ": an image of record " + first);
            }
        }
    }
}

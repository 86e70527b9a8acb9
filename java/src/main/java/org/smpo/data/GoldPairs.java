package org.smpo.data;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.stream.IntStream;
import org.smpo.io.Digest;
import org.smpo.objective.HumanChoice;

/// Pairs of a gold image and a generated one with the same caption: image 0, the better one, is the image that
/// people chose, and image 1 was generated. A generated image whose caption has no gold image is in no pair.
///
/// The gold image of a caption is the winner of the first pair with that caption between whose images people
/// decided. Captions are the same where they differ in white space around them only.
public final class GoldPairs implements PairSource {
    /// Number of pairs whose captions are read together.
    private static final int READ_AT_ONCE = 64;

    private final PairSource human;
    private final List<Pair> pairs;
    private final PairLabels labels;
    private final long captions;

    /// A generated image.
    ///
    /// @param caption its prompt
    /// @param file its file
    public record Candidate(String caption, Path file) {}

    /// @param row row of the human pair with the gold image
    /// @param file file of the generated image
    private record Pair(int row, Path file) {}

    private GoldPairs(PairSource human, List<Pair> pairs) {
        this.human = human;
        this.pairs = pairs;
        PairLabels.Builder all = new PairLabels.Builder();
        pairs.forEach(pair -> all.add(HumanChoice.IMAGE_0, OptionalDouble.empty(), Optional.empty()));
        this.labels = all.build();
        this.captions = pairs.stream().mapToInt(Pair::row).distinct().count();
    }

    /// Pairs generated images with the gold images of their captions.
    ///
    /// @param human pairs that people chose between; stay the caller's, and have to stay open
    /// @throws IOException when they cannot be read
    public static GoldPairs of(PairSource human, List<Candidate> images) throws IOException {
        Map<String, Integer> gold = gold(human);
        List<Pair> pairs = new ArrayList<>();
        for (Candidate image : images) {
            Integer row = gold.get(image.caption().strip());
            if (row != null) {
                pairs.add(new Pair(row, image.file()));
            }
        }
        return new GoldPairs(human, pairs);
    }

    /// Returns the captions that have a gold image, in the order of their pairs.
    ///
    /// @throws IOException when the pairs cannot be read
    public static List<String> captions(PairSource human) throws IOException {
        return List.copyOf(gold(human).keySet());
    }

    /// The row with the gold image of each caption.
    private static Map<String, Integer> gold(PairSource human) throws IOException {
        int[] decided = IntStream.range(0, human.size())
                .filter(row -> human.labels().people(row).isDecided())
                .toArray();
        Map<String, Integer> gold = new LinkedHashMap<>();
        for (int from = 0; from < decided.length; from += READ_AT_ONCE) {
            List<Integer> rows =
                    IntStream.of(decided).skip(from).limit(READ_AT_ONCE).boxed().toList();
            for (PairRecord record : human.read(rows)) {
                if (record instanceof PreferencePair pair && !pair.caption().isBlank()) {
                    gold.putIfAbsent(pair.caption().strip(), pair.index());
                }
            }
        }
        return gold;
    }

    @Override
    public int size() {
        return pairs.size();
    }

    @Override
    public PairLabels labels() {
        return labels;
    }

    @Override
    public List<PairRecord> read(List<Integer> indices) throws IOException {
        List<PairRecord> gold =
                human.read(indices.stream().map(index -> pairs.get(index).row()).toList());
        List<PairRecord> read = new ArrayList<>(indices.size());
        for (int i = 0; i < indices.size(); i++) {
            int index = indices.get(i);
            Path file = pairs.get(index).file();
            read.add(
                    switch (gold.get(i)) {
                        case BadPair bad -> new BadPair(index, bad.id(), bad.problem(), bad.message());
                        case PreferencePair pair ->
                            new PreferencePair(
                                    index,
                                    pair.id() + "/" + file.getFileName(),
                                    pair.caption(),
                                    pair.image(pair.people().winner()),
                                    EncodedImage.of(file.toString(), Files.readAllBytes(file)),
                                    HumanChoice.IMAGE_0,
                                    Optional.empty());
                    });
        }
        return read;
    }

    @Override
    public String fingerprint() throws IOException {
        Digest digest = new Digest();
        update(digest, human.fingerprint());
        for (Pair pair : pairs) {
            update(digest, pair.row() + " " + pair.file().getFileName() + " " + Files.size(pair.file()));
        }
        return digest.hex();
    }

    private static void update(Digest digest, String line) {
        digest.update(ByteBuffer.wrap((line + "\n").getBytes(StandardCharsets.UTF_8)));
    }

    @Override
    public String describe() {
        return size() + " generated images against the gold images of " + captions + " captions from "
                + human.describe();
    }

    /// Closes nothing: the human pairs are the caller's.
    @Override
    public void close() {}
}

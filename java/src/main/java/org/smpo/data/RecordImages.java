package org.smpo.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;
import org.smpo.io.Closer;
import org.smpo.io.HubCache;
import org.smpo.io.Rendering;
import org.smpo.objective.HumanChoice;

/// Single images in files: an imagefolder, which is a folder with `metadata.jsonl`, or Parquet.
///
/// | field | value |
/// |---|---|
/// | `file_name` (Parquet: `image` or `jpg`) | the image: a path below the folder, or its bytes |
/// | `text`, `prompt`, `caption` | the prompt, may be empty |
/// | `label` | true or 1 for a desirable image, false or 0 for another one; null or absent for no verdict |
/// | `id` | name of the image |
public final class RecordImages implements ImageSource, AutoCloseable {
    private static final String LIST = "metadata.jsonl";

    private final Records records;
    private final PairLabels labels;
    private final Rendering rendering;
    private final List<String> notes;

    private RecordImages(Records records, PairLabels labels, Rendering rendering, List<String> notes) {
        this.records = records;
        this.labels = labels;
        this.rendering = rendering;
        this.notes = notes;
    }

    /// Opens single images.
    ///
    /// @param given a folder with `metadata.jsonl` or Parquet files, such a file, or the `OWNER/NAME` of
    ///     a dataset in the Hugging Face cache
    /// @param split name of the split to take from a folder of Parquet files; empty: train, where there
    ///     are several
    /// @param rendering how images are decoded
    /// @throws IOException when nothing is there, or it cannot be read
    public static RecordImages open(Path given, Optional<String> split, Rendering rendering) throws IOException {
        Path path = HubCache.standard().find(given, HubCache.Kind.DATASET);
        List<String> notes = new ArrayList<>();
        Records records = records(path, split, notes);
        notes.addAll(records.notes());
        try {
            PairLabels.Builder labels = new PairLabels.Builder();
            records.readLabels(fields -> labels.add(verdict(fields), OptionalDouble.empty(), Optional.empty()));
            return new RecordImages(records, labels.build(), rendering, List.copyOf(notes));
        } catch (IOException | RuntimeException e) {
            Closer failed = new Closer();
            failed.add(records);
            failed.closeAfter(e);
            throw e;
        }
    }

    /// The label as a number: 1 for a desirable image. A record that cannot be read has none; reading it tells what is
    /// wrong.
    private static HumanChoice verdict(Records.FieldReader fields) throws IOException {
        try {
            return fields.read()
                    .desirable()
                    .map(desirable -> desirable ? HumanChoice.IMAGE_1 : HumanChoice.IMAGE_0)
                    .orElse(HumanChoice.UNKNOWN);
        } catch (BadPairException e) {
            return HumanChoice.UNKNOWN;
        }
    }

    /// @param notes receives how the files were chosen
    private static Records records(Path path, Optional<String> given, List<String> notes) throws IOException {
        if (Files.isRegularFile(path)) {
            return path.toString().endsWith(".parquet")
                    ? ParquetRecords.open(path.toAbsolutePath().getParent(), List.of(path), true)
                    : JsonLineRecords.open(path, true);
        }
        if (!Files.isDirectory(path)) {
            throw new IOException(path + ": expected a folder with " + LIST + " or Parquet files, found nothing");
        }
        if (Files.isRegularFile(path.resolve(LIST))) {
            return JsonLineRecords.open(path.resolve(LIST), true);
        }
        List<Path> files = new ArrayList<>(parquet(path));
        if (Files.isDirectory(path.resolve("data"))) {
            files.addAll(parquet(path.resolve("data")));
        }
        if (files.isEmpty()) {
            throw new IOException(
                    path + ": expected " + LIST + " or *.parquet, for data.images: single, found neither");
        }
        DataSplit split = DataSplit.choose(path, files, given);
        if (!split.note().isEmpty()) {
            notes.add(split.note());
        }
        return ParquetRecords.open(path, split.files(), true);
    }

    private static List<Path> parquet(Path folder) throws IOException {
        return SourceFolder.list(folder).stream()
                .filter(file -> file.toString().endsWith(".parquet") && Files.isRegularFile(file))
                .toList();
    }

    /// Returns what a user should know of how the images were chosen, one line each.
    public List<String> notes() {
        return notes;
    }

    @Override
    public int size() {
        return records.size();
    }

    @Override
    public Optional<Boolean> desirable(int index) {
        return switch (labels.people(index)) {
            case IMAGE_0 -> Optional.of(false);
            case IMAGE_1 -> Optional.of(true);
            case TIE, UNKNOWN -> Optional.empty();
        };
    }

    @Override
    public List<ImageRecord> read(List<Integer> indices) throws IOException {
        for (int index : indices) {
            Objects.checkIndex(index, size());
        }
        List<Records.Raw> found = records.read(indices);
        List<ImageRecord> images = new ArrayList<>(found.size());
        for (int i = 0; i < found.size(); i++) {
            images.add(image(indices.get(i), found.get(i)));
        }
        return images;
    }

    private ImageRecord image(int index, Records.Raw record) throws IOException {
        String id = records.name(index);
        try {
            PairFields fields = record.fields();
            id = fields.id(id);
            fields.desirable();
            return new SingleImage(index, id, fields.caption(), record.image(0).rendered(rendering), index, 0);
        } catch (BadPairException e) {
            return e.of(index, id);
        }
    }

    @Override
    public String fingerprint() throws IOException {
        return records.fingerprint(labels);
    }

    @Override
    public String describe() {
        return size() + " images of " + records.describe();
    }

    @Override
    public void close() throws IOException {
        records.close();
    }
}

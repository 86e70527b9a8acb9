package org.smpo.data;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.smpo.io.Rendering;

/// Preference pairs in files, by index. The order of a source is fixed: files by name, records as they stand.
///
/// What is wrong with a record is part of the result, a [BadPair]; an exception means that the source itself
/// cannot be read. Reading is safe from any thread. The formats:
///
/// * a folder with `pairs.jsonl` (or imagefolder's `metadata.jsonl`): one JSON object per line with
///   `image_0` and `image_1`, paths below the folder
/// * Parquet with Pick-a-Pic's columns: `jpg_0`, `jpg_1` (bytes, or the struct of bytes and path that
///   Hugging Face writes)
/// * tar shards: members `KEY.0.jpg` and `KEY.1.jpg` (or `KEY.jpg_0`, `KEY.jpg_1`; also png and webp),
///   `KEY.caption.txt` (or `KEY.txt`, `KEY.caption`) and `KEY.json` with the other fields, or `KEY.label`,
///   `KEY.label_0`, `KEY.label_1`
/// * a data set in Arrow as Hugging Face's `save_to_disk` writes it, with the columns of the Parquet
/// * two folders `chosen` and `rejected` with images of the same names and a text file per prompt
///
/// In all of them the fields `caption` (or `prompt`, `text`), `label` (or `label_0` and `label_1`),
/// `probability_0`, `score_0`, `score_1` and `id` mean the same: `label` is the number of the better image,
/// 0 or 1, or 0.5 or "tie"; `label_0` is 1 when image 0 is better; `probability_0` is the probability that it
/// is. Images may also be called `chosen` and `rejected`, as in TRL, which makes the first the
/// better one.
public interface PairSource extends AutoCloseable {
    /// Key, in the metadata of a file about the pairs of a source, of the source's [#fingerprint].
    String DIGEST_KEY = "smpo.data_digest";

    /// Number of records, bad ones included.
    int size();

    /// The labels and scores of all records.
    PairLabels labels();

    /// The records at these indices, in this order. One call for a batch is faster than many for its parts.
    ///
    /// @throws IndexOutOfBoundsException when there is no such index
    /// @throws IOException when the source cannot be read
    List<PairRecord> read(List<Integer> indices) throws IOException;

    /// The record at one index.
    default PairRecord read(int index) throws IOException {
        return read(List.of(index)).get(0);
    }

    /// A digest of what the source holds, for a run's manifest: SHA-256 over the relative names and sizes of
    /// all files, the labels, and the content that describes the rest (all of `pairs.jsonl`, the first and
    /// last 64 KiB of each other file). It finds other data and other labels; it does not find a changed bit
    /// in the middle of a large file.
    ///
    /// @throws IOException when a file cannot be read
    String fingerprint() throws IOException;

    /// Number of pairs, format and place in one line. Runs record this text.
    String describe();

    /// Choices and omissions when the source was opened, one sentence each; empty when there was
    /// nothing.
    default List<String> notes() {
        return List.of();
    }

    @Override
    void close() throws IOException;

    /// Opens a source of any format, which is recognized by its content. Of a folder with several splits the
    /// train split is taken.
    ///
    /// @param path a folder, a file, the `OWNER/NAME` of a dataset in the Hugging Face cache, or a pattern
    ///     with `*` or `?` in its last part that stands for files of one format
    /// @throws IOException when nothing is there, the format is not clear, or the source cannot be read
    static PairSource open(Path path) throws IOException {
        return open(path, Optional.empty(), Rendering.VIEWER);
    }

    /// Opens a source like [#open(Path)].
    ///
    /// @param split name of the split to take from a folder; empty: train, where there are several
    /// @param rendering how images are decoded
    /// @throws IOException also when the folder has no such split
    static PairSource open(Path path, Optional<String> split, Rendering rendering) throws IOException {
        return SourceKind.open(path, split, rendering);
    }
}

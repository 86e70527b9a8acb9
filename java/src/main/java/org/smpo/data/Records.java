package org.smpo.data;

import java.io.Closeable;
import java.io.IOException;
import java.util.List;

/// The records of one file format by index: what differs between the formats. [RecordPairs] makes a
/// [PairSource] of them. Reading is safe from any thread.
interface Records extends Closeable {
    /// A record whose content was found and is read piece by piece.
    interface Raw {
        /// The fields of the record.
        ///
        /// @throws BadPairException when the record is malformed
        PairFields fields() throws IOException, BadPairException;

        /// The encoded bytes of image 0 or 1; of a single image, 0.
        ///
        /// @throws BadPairException when there are none, or more than [RecordPairs#MAX_IMAGE_BYTES]
        EncodedImage image(int which) throws IOException, BadPairException;
    }

    /// Reads the fields of one record.
    @FunctionalInterface
    interface FieldReader {
        PairFields read() throws IOException, BadPairException;
    }

    /// Receives the labels of all records in order.
    @FunctionalInterface
    interface LabelSink {
        void add(FieldReader fields) throws IOException;
    }

    /// Number of records.
    int size();

    /// Name of a record without an `id`.
    String name(int index);

    /// Passes the fields that hold labels and scores of every record, in order.
    void readLabels(LabelSink sink) throws IOException;

    /// The records at these indices, in this order. All indices are valid.
    List<Raw> read(List<Integer> indices) throws IOException;

    /// Digest of what the records hold; see [PairSource#fingerprint].
    String fingerprint(PairLabels labels) throws IOException;

    /// Format and place, to follow "N pairs of ".
    String describe();

    /// See [PairSource#notes].
    default List<String> notes() {
        return List.of();
    }
}

package org.smpo.data;

import java.io.IOException;
import java.util.List;
import java.util.Optional;

/// Single images by index, each with a caption and perhaps a verdict. Reading is safe from any thread.
///
/// What is wrong with a record is part of the result, a [BadPair]; an exception means that the source itself
/// cannot be read.
public interface ImageSource {
    /// Number of records, bad ones included.
    int size();

    /// Whether an image is desirable; empty where the data do not say.
    Optional<Boolean> desirable(int index);

    /// The records at these indices, in this order.
    ///
    /// @throws IndexOutOfBoundsException when there is no such index
    /// @throws IOException when the source cannot be read
    List<ImageRecord> read(List<Integer> indices) throws IOException;

    /// A digest of what the source holds; see [PairSource#fingerprint].
    String fingerprint() throws IOException;

    /// Number of images, format and place in one line. Runs record this text.
    String describe();
}

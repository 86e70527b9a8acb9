package org.smpo.reward;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.smpo.data.PairSource;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;
import org.smpo.network.ClipModel;

/// A loaded CLIP model whose embeddings heads are fitted to. Belongs to the thread that opened it.
public final class FeatureModel implements AutoCloseable {
    private final RewardSource source;
    private final ClipModel clip;
    private final Reading reading;

    /// How a dataset is read.
    ///
    /// @param batch number of pairs embedded at once, 1 or more
    /// @param maxBadFraction largest tolerated fraction of unreadable pairs
    /// @param progress listener that is called after each batch
    public record Reading(int batch, double maxBadFraction, ScoreRun.Progress progress) {
        public Reading {
            if (batch < 1) {
                throw new IllegalArgumentException("batch: expected 1 or more, got " + batch);
            }
        }

        /// @param first a clause about the first bad pair, or nothing
        void requireFewBad(PairSource data, int bad, String first) throws IOException {
            if (bad > maxBadFraction * data.size()) {
                throw new IOException(
                        data.describe() + ": " + bad + " of " + data.size() + " pairs cannot be read, more"
                                + " than --max-bad-fraction (" + maxBadFraction + ") allows" + first
                                + "; smpo data validate lists them");
            }
        }
    }

    private FeatureModel(RewardSource source, ClipModel clip, Reading reading) {
        this.source = source;
        this.clip = clip;
        this.reading = reading;
    }

    /// Loads a model.
    ///
    /// @param source a CLIP model, or a reward that is one
    /// @param device `cpu`, `cuda` or `cuda:N`
    /// @param threads number of CPU threads; 0: one per physical core
    /// @throws IllegalArgumentException when the source is a reward of another kind
    /// @throws IOException when a file is missing, unreadable or not supported
    public static FeatureModel open(
            RewardSource source, String device, Precision precision, int threads, Reading reading) throws IOException {
        ClipScore.ClipFiles files = source.clip();
        return new FeatureModel(
                source, ClipModel.open(files.model(), files.processor(), device, precision, threads), reading);
    }

    RewardSource source() {
        return source;
    }

    String digest() {
        return clip.digest();
    }

    /// Embeds every pair of a dataset. That takes about 24 bytes of memory per pair and dimension of an
    /// embedding.
    ///
    /// @throws IOException when the data cannot be read, or too much of it is bad
    PairEmbeddings embed(PairSource data) throws IOException {
        PairEmbeddings all = new PairEmbeddings(data.size());
        for (int from = 0; from < data.size(); from += reading.batch) {
            int end = Math.min(from + reading.batch, data.size());
            embed(DecodedPair.read(data, from, end), all);
            reading.progress.done(0, end, data.size());
        }
        int bad = all.problems().size();
        reading.requireFewBad(
                data,
                bad,
                bad == 0
                        ? ""
                        : ", the first of them row " + all.problems().firstKey() + ": "
                                + all.problems().firstEntry().getValue());
        return all;
    }

    private void embed(List<DecodedPair> batch, PairEmbeddings all) throws IOException {
        List<String> captions = new ArrayList<>();
        List<RgbImage> images = new ArrayList<>();
        for (DecodedPair pair : batch) {
            if (pair.problem() == null) {
                captions.addAll(List.of(pair.caption(), pair.caption()));
                images.addAll(List.of(pair.image0(), pair.image1()));
            }
        }
        ClipEmbeddings embeddings;
        try {
            embeddings = ClipEmbeddings.of(clip, captions, images);
        } catch (ArithmeticException e) {
            throw new IOException(
                    "rows " + batch.getFirst().row() + " to " + batch.getLast().row() + ": " + e.getMessage(), e);
        }
        int at = 0;
        for (DecodedPair pair : batch) {
            if (pair.problem() == null) {
                all.add(pair, embeddings, at);
                at += 2;
            } else {
                all.addBad(pair);
            }
        }
    }

    @Override
    public void close() {
        clip.close();
    }
}

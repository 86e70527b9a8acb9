package org.smpo.reward;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Consumer;
import org.smpo.data.PairSource;
import org.smpo.io.RgbImage;
import org.smpo.parallel.Peers;

/// Scores every pair of a dataset with a reward and writes a score file.
///
/// Finished batches are kept beside the target in `TARGET.journal`. A run that was interrupted in any way
/// resumes after its last whole batch and ends with the same bytes as a run that was not. The next batch is
/// decoded while the current one is scored.
public final class ScoreRun {
    private static final String BATCH = "smpo.batch";

    private final PairSource data;
    private final Reward reward;
    private final int batch;
    private final Consumer<String> warnings;
    private final SortedMap<String, String> metadata;

    /// Prepares a run.
    ///
    /// @param data pairs to score; stays the caller's
    /// @param reward reward to score with; stays the caller's
    /// @param batch number of pairs per batch. Sums round differently in another batch, so a run keeps to
    ///     one size
    /// @param notes further metadata of the file, by name without the prefix `smpo.`
    /// @param warnings told when the file system has no locks
    /// @throws IllegalArgumentException when the batch is not positive
    /// @throws IOException when the data cannot be read
    public ScoreRun(PairSource data, Reward reward, int batch, Map<String, String> notes, Consumer<String> warnings)
            throws IOException {
        if (batch < 1) {
            throw new IllegalArgumentException("batch: expected 1 or more, got " + batch);
        }
        this.data = data;
        this.reward = reward;
        this.batch = batch;
        this.warnings = warnings;
        SortedMap<String, String> all = new TreeMap<>();
        notes.forEach((key, value) -> all.put("smpo." + key, value));
        reward.metadata().forEach((key, value) -> all.put("smpo." + key, value));
        all.put(ScoreTable.FORMAT, ScoreTable.CURRENT);
        all.put(ScoreTable.REWARD, reward.kind());
        all.put(ScoreTable.MODEL, reward.digest());
        all.put(ScoreTable.DATA, data.fingerprint());
        all.put(ScoreTable.ROWS, String.valueOf(data.size()));
        all.put(ScoreTable.PREPROCESSING, reward.preprocessing());
        all.put(BATCH, String.valueOf(batch));
        this.metadata = Collections.unmodifiableSortedMap(all);
    }

    /// A listener that is called after each batch.
    @FunctionalInterface
    public interface Progress {
        /// Reports how many rows are done.
        ///
        /// @param before number of rows that an earlier run had done
        /// @param done number of rows that are done, including those
        /// @param all number of rows
        void done(int before, int done, int all);
    }

    /// Outcome of a run.
    ///
    /// @param scored number of pairs with scores
    /// @param problems problems of the other pairs, by row
    /// @param resumed number of rows that an earlier run had done
    public record Summary(int scored, SortedMap<Integer, String> problems, int resumed) {
        public Summary {
            problems = Collections.unmodifiableSortedMap(new TreeMap<>(problems));
        }

        /// Number of all pairs, with scores or without.
        public int pairs() {
            return scored + problems.size();
        }
    }

    /// Returns the path of the journal of an unfinished run.
    public static Path journal(Path target) {
        return target.resolveSibling(target.getFileName() + ".journal");
    }

    /// Scores the pairs and writes the file.
    ///
    /// @param target path of the score file; may exist only when it is this run's own result and `resume`
    ///     is given
    /// @param resume whether to resume an unfinished run, if there is one
    /// @throws IOException when the data cannot be read or the file cannot be written; when there is an
    ///     unfinished run and `resume` is not given; when the unfinished run has another model, other data
    ///     or other options
    public Summary run(Path target, boolean resume, Progress progress) throws IOException {
        return run(target, resume, Peers.alone(), progress).orElseThrow();
    }

    /// Scores the pairs with several processes, which take the batches in turn. Rank 0 writes the file,
    /// with the same bytes as one process, and reports the progress.
    ///
    /// @param peers the processes; stay the caller's
    /// @return empty on the other ranks
    public Optional<Summary> run(Path target, boolean resume, Peers peers, Progress progress) throws IOException {
        return peers.together(() -> {
            peers.requireSame(metadata);
            if (peers.world().isFirst()) {
                return Optional.of(lead(target, resume, peers, progress));
            }
            score(Math.toIntExact(peers.tell(0L)), peers, rows -> {});
            return Optional.empty();
        });
    }

    private Summary lead(Path target, boolean resume, Peers peers, Progress progress) throws IOException {
        if (Files.exists(target)) {
            if (resume && finished(target)) {
                // A process that was killed after it wrote the file leaves its journal.
                Files.deleteIfExists(journal(target));
                peers.tell((long) data.size());
                return summary(ScoreFile.read(target).rows(), data.size());
            }
            throw new IOException(target + ": expected no file, found one: delete it or choose another path");
        }
        try (ScoreJournal journal = resume
                ? ScoreJournal.open(journal(target), metadata, warnings)
                : ScoreJournal.begin(journal(target), metadata, warnings)) {
            int before = Math.toIntExact(peers.tell((long) journal.rows().size()));
            score(before, peers, rows -> {
                journal.append(rows);
                progress.done(before, journal.rows().size(), data.size());
            });
            ScoreFile.write(target, journal.rows(), metadata);
            journal.delete();
            return summary(journal.rows(), before);
        }
    }

    /// Returns whether a file is what this run would write.
    private boolean finished(Path target) throws IOException {
        return ScoreTable.difference(ScoreTable.read(target).metadata(), metadata)
                .isEmpty();
    }

    private static Summary summary(List<ScoredPair> rows, int resumed) {
        SortedMap<Integer, String> problems = new TreeMap<>();
        for (ScoredPair pair : rows) {
            if (!pair.scored()) {
                problems.put((int) pair.row(), pair.id() + ": " + pair.problem());
            }
        }
        return new Summary(rows.size() - problems.size(), problems, resumed);
    }

    /// Receives the rows of a batch.
    private interface Sink {
        void add(List<ScoredPair> rows) throws IOException;
    }

    /// Scores the rows that are left, a batch for each process in turn.
    private void score(int before, Peers peers, Sink sink) throws IOException {
        int batches = Math.ceilDiv(data.size() - before, batch);
        try (ExecutorService decoders = Executors.newVirtualThreadPerTaskExecutor()) {
            Deque<Future<List<DecodedPair>>> ahead = new ArrayDeque<>();
            ahead.add(decodeAhead(decoders, before + peers.world().rank() * batch));
            peers.share(
                    batches,
                    item -> {
                        List<DecodedPair> current = get(ahead.remove());
                        ahead.add(decodeAhead(
                                decoders, before + (item + peers.world().size()) * batch));
                        return ScoreJournal.encode(score(current));
                    },
                    (item, scored) -> sink.add(ScoreJournal.decodeRows(scored)));
        }
    }

    /// Decodes a batch, which is empty beyond the last row.
    private Future<List<DecodedPair>> decodeAhead(ExecutorService decoders, int from) {
        return decoders.submit(() -> decode(Math.min(from, data.size())));
    }

    private static List<DecodedPair> get(Future<List<DecodedPair>> batch) throws IOException {
        try {
            return batch.get();
        } catch (ExecutionException e) {
            if (e.getCause() instanceof IOException cause) {
                throw new IOException(cause.getMessage(), cause);
            }
            if (e.getCause() instanceof Error error) {
                throw error;
            }
            throw new IllegalStateException(e.getCause());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted", e);
        }
    }

    private List<DecodedPair> decode(int from) throws IOException {
        return DecodedPair.read(data, from, Math.min(from + batch, data.size()));
    }

    private List<ScoredPair> score(List<DecodedPair> records) throws IOException {
        List<String> captions = new ArrayList<>();
        List<RgbImage> images = new ArrayList<>();
        for (DecodedPair good : records) {
            if (good.problem() == null) {
                captions.addAll(List.of(good.caption(), good.caption()));
                images.addAll(List.of(good.image0(), good.image1()));
            }
        }
        double[] scores;
        try {
            scores = images.isEmpty() ? new double[0] : reward.score(captions, images);
        } catch (ArithmeticException e) {
            throw new IOException(
                    "rows " + records.getFirst().row() + " to "
                            + records.getLast().row() + ": " + e.getMessage(),
                    e);
        }
        List<ScoredPair> rows = new ArrayList<>();
        int at = 0;
        for (DecodedPair each : records) {
            if (each.problem() == null) {
                rows.add(ScoredPair.of(each.row(), each.id(), scores[at], scores[at + 1]));
                at += 2;
            } else {
                rows.add(ScoredPair.bad(each.row(), each.id(), each.problem()));
            }
        }
        return rows;
    }
}

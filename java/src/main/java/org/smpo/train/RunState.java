package org.smpo.train;

import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import org.smpo.io.JsonObject;

/// The counters of a run between two steps, as a checkpoint keeps them.
///
/// @param done number of steps taken
/// @param pairsSeen number of pairs requested so far
/// @param badPairs number of those that could not be read
/// @param reportsDue whether the held-out evaluation or the samples that follow step `done` are still missing, because
///     a stop interrupted them
record RunState(long done, long pairsSeen, long badPairs, boolean reportsDue) {
    /// The state before the first step.
    static final RunState START = new RunState(0, 0, 0, false);

    private static final String REPORTS_DUE = "reports_due";

    /// Number of pairs needed before the share of bad pairs is judged.
    private static final int FEWEST_TO_JUDGE = 100;

    static RunState read(JsonObject json, long step) throws IOException {
        return new RunState(
                step,
                json.integer("pairs_seen"),
                json.integer("bad_pairs"),
                json.has(REPORTS_DUE) && json.bool(REPORTS_DUE));
    }

    Map<String, Object> json() {
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("pairs_seen", pairsSeen);
        all.put("bad_pairs", badPairs);
        if (reportsDue) {
            all.put(REPORTS_DUE, true);
        }
        return all;
    }

    RunState withPairs(int seen, int bad) {
        return new RunState(done, pairsSeen + seen, badPairs + bad, reportsDue);
    }

    /// Throws if too many of the pairs seen so far could not be read. A few pairs are judged only if there are no
    /// more: one bad pair in three does not mean that a third of the data is bad.
    ///
    /// @param trainingPairs number of pairs that are trained on
    /// @param maxBadFraction largest share of bad pairs that is allowed
    /// @throws IOException naming the share and the recipe key
    void requireFewBadPairs(int trainingPairs, double maxBadFraction) throws IOException {
        if (pairsSeen >= Math.min(FEWEST_TO_JUDGE, trainingPairs) && badPairs > maxBadFraction * pairsSeen) {
            throw new IOException("data: " + badPairs + " of " + pairsSeen
                    + " pairs could not be read, more than data.max_bad_fraction (" + maxBadFraction
                    + ") allows; smpo data validate lists them");
        }
    }

    RunState withStepDone() {
        return new RunState(done + 1, pairsSeen, badPairs, reportsDue);
    }

    RunState withReportsDue(boolean due) {
        return new RunState(done, pairsSeen, badPairs, due);
    }
}

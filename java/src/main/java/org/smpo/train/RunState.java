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

    RunState withStepDone() {
        return new RunState(done + 1, pairsSeen, badPairs, reportsDue);
    }

    RunState withReportsDue(boolean due) {
        return new RunState(done, pairsSeen, badPairs, due);
    }
}

package org.smpo.iterate;

import java.io.IOException;
import java.nio.file.Path;
import org.smpo.evaluate.GeneratedPairs;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;

/// Numbers of a round's pairs.
///
/// @param prompts number of prompts
/// @param pairs number of pairs
/// @param promptsWithoutPair number of prompts without a pair
record PairCounts(long prompts, long pairs, long promptsWithoutPair) {
    /// Reads the numbers that were recorded with the pairs.
    static PairCounts read(Path folder) throws IOException {
        JsonObject record = Json.readObject(folder.resolve(GeneratedPairs.RECORD));
        return new PairCounts(
                record.integer("prompts"), record.integer("pairs"), record.integer("prompts_without_pair"));
    }

    /// Checks that the pairs suffice for one optimizer step.
    ///
    /// @throws IOException when there are fewer
    void requireStep(int round, int pairsPerStep) throws IOException {
        if (pairs < pairsPerStep) {
            throw new IOException("round " + round + ": expected at least the " + pairsPerStep
                    + " pairs of one step (train.pairs_per_step), found " + pairs + " of " + prompts + " prompts ("
                    + promptsWithoutPair + " without a pair: ties, or below rounds.pairs.min_preference); begin again"
                    + " with more prompts or images per round, or with fewer pairs per step");
        }
    }
}

package org.smpo.reward;

import java.util.Objects;

/// One row of a score file.
///
/// @param row position of the pair in the data
/// @param id id of the pair
/// @param score0 score of image 0; NaN when the pair is bad
/// @param score1 score of image 1; NaN when the pair is bad
/// @param problem problem of the pair; empty when it was scored
record ScoredPair(long row, String id, double score0, double score1, String problem) {
    ScoredPair {
        Objects.requireNonNull(id, "id");
        boolean scored = problem.isEmpty();
        if (scored != Double.isFinite(score0) || scored != Double.isFinite(score1)) {
            throw new IllegalArgumentException("row " + row + ": expected two finite scores or a problem, got " + score0
                    + ", " + score1 + " and \"" + problem + "\"");
        }
    }

    static ScoredPair of(long row, String id, double score0, double score1) {
        return new ScoredPair(row, id, score0, score1, "");
    }

    static ScoredPair bad(long row, String id, String problem) {
        return new ScoredPair(row, id, Double.NaN, Double.NaN, problem);
    }

    boolean scored() {
        return problem.isEmpty();
    }
}

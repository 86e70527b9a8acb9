package org.smpo.objective;

import java.util.Arrays;
import java.util.List;

/// A linear head fitted by logistic regression with an L2 penalty.
///
/// ```text
/// loss(w, b) = Σ_k c_k mean_i softplus(−s_k (a_i + w·x_i + b))  +  λ/2 ‖w‖²
/// ```
///
/// The means are over the rows of each group k. With s = 1, no b, and rows "winner minus loser", this
/// is the Bradley-Terry likelihood of pairs. With two groups of s = ±1 and an intercept b, which is not
/// penalised, it is a classifier of two classes that weigh the same whatever their sizes.
///
/// The loss is strictly convex in w, so its minimum does not depend on the way to it. It is found by
/// L-BFGS in double with a fixed order of sums: the same rows give the same bits.
///
/// @param weights w
/// @param intercept b; 0 for a fit without
/// @param loss the loss at the minimum, penalty included
/// @param initialLoss the loss at w = 0 and b = 0
/// @param iterations number of iterations taken
@SuppressWarnings("ArrayRecordComponent") // a result, never compared
public record LogisticFit(double[] weights, double intercept, double loss, double initialLoss, int iterations) {
    private static final String OWNER = "logistic fit";
    private static final int LARGEST_ITERATION = 500;
    private static final double TOLERANCE = 1e-9;

    /// Rows that share a sign and a weight in the loss. Rows are kept, not copied.
    ///
    /// @param weight c, the weight of the mean over the rows; 0 or more
    /// @param positive whether s is 1; otherwise −1
    /// @param offsets a of each row
    /// @param rows x of each row
    @SuppressWarnings("ArrayRecordComponent") // an argument of one call, never compared
    public record Group(double weight, boolean positive, double[] offsets, double[][] rows) {
        /// @throws IllegalArgumentException when there is no row, lengths differ, or a number is not
        ///     finite
        public Group {
            Require.nonNegative(OWNER, "weight", weight);
            if (rows.length == 0 || offsets.length != rows.length) {
                throw new IllegalArgumentException(
                        "logistic fit: expected at least one row and an offset for each, got " + rows.length
                                + " rows and " + offsets.length + " offsets");
            }
            for (int row = 0; row < rows.length; row++) {
                Require.finite(OWNER, "offset " + row, offsets[row]);
                if (rows[row].length != rows[0].length) {
                    throw new IllegalArgumentException("logistic fit: row " + row + ": expected " + rows[0].length
                            + " features as in row 0, got " + rows[row].length);
                }
                for (double feature : rows[row]) {
                    Require.finite(OWNER, "row " + row, feature);
                }
            }
        }

        /// Rows of pairs, winner minus loser.
        public static Group ofPairs(double weight, double[] offsets, double[][] differences) {
            return new Group(weight, true, offsets, differences);
        }

        /// Rows of one of two classes.
        private static Group ofClass(boolean positive, double[][] rows) {
            return new Group(0.5, positive, new double[rows.length], rows);
        }
    }

    /// Fits a head to pairs, without an intercept, which cancels in a difference. Groups of weight 0
    /// have no effect.
    ///
    /// @param groups groups of rows, at least one with a weight above 0
    /// @param l2 λ > 0
    /// @throws ArithmeticException when the fit does not converge
    public static LogisticFit ofPairs(List<Group> groups, double l2) {
        return fit(groups, l2, false);
    }

    /// Fits a classifier of two classes of equal weight: w·x + b is the log-odds that x belongs to the
    /// first.
    ///
    /// @param first features of the first class
    /// @param second features of the second class
    /// @param l2 λ > 0
    /// @throws ArithmeticException when the fit does not converge
    public static LogisticFit ofClasses(double[][] first, double[][] second, double l2) {
        // The intercept takes the mean of the features out, which leaves w as it is and speeds the fit up.
        double[] mean = mean(first, second);
        LogisticFit centred = fit(
                List.of(Group.ofClass(true, minus(first, mean)), Group.ofClass(false, minus(second, mean))), l2, true);
        return new LogisticFit(
                centred.weights,
                centred.intercept - dot(centred.weights, mean, mean.length),
                centred.loss,
                centred.initialLoss,
                centred.iterations);
    }

    /// Returns ‖w‖.
    public double norm() {
        return Math.sqrt(dot(weights, weights, weights.length));
    }

    /// Returns w·x + b.
    ///
    /// @throws IllegalArgumentException when the row has another number of features
    public double logit(double[] row) {
        if (row.length != weights.length) {
            throw new IllegalArgumentException(
                    "logistic fit: expected " + weights.length + " features, got " + row.length);
        }
        return dot(weights, row, row.length) + intercept;
    }

    /// Returns the probability that a row belongs to the first class.
    ///
    /// @throws IllegalArgumentException when the row has another number of features
    public double probability(double[] row) {
        return Logistic.sigmoid(logit(row));
    }

    private static double[] mean(double[][] first, double[][] second) {
        int width = first.length == 0 ? 0 : first[0].length;
        double[] mean = new double[width];
        for (double[][] rows : List.of(first, second)) {
            for (double[] row : rows) {
                for (int i = 0; i < Math.min(width, row.length); i++) {
                    mean[i] += row[i] / (first.length + second.length);
                }
            }
        }
        return mean;
    }

    private static double[][] minus(double[][] rows, double[] mean) {
        double[][] moved = new double[rows.length][];
        for (int row = 0; row < rows.length; row++) {
            moved[row] = rows[row].clone();
            for (int i = 0; i < Math.min(mean.length, moved[row].length); i++) {
                moved[row][i] -= mean[i];
            }
        }
        return moved;
    }

    private static LogisticFit fit(List<Group> groups, double l2, boolean intercept) {
        Require.positive(OWNER, "l2", l2);
        List<Group> used = groups.stream().filter(group -> group.weight > 0).toList();
        if (used.isEmpty()) {
            throw new IllegalArgumentException("logistic fit: expected a group of a weight above 0, got none");
        }
        int width = used.getFirst().rows[0].length;
        for (Group group : used) {
            if (group.rows[0].length != width) {
                throw new IllegalArgumentException("logistic fit: expected groups of one number of features, got "
                        + width + " and " + group.rows[0].length);
            }
        }
        Lbfgs solver =
                new Lbfgs((at, gradient) -> loss(used, l2, intercept, at, gradient), width + (intercept ? 1 : 0));
        double initial = solver.value();
        int iterations = solver.minimise(LARGEST_ITERATION, TOLERANCE);
        if (iterations < 0) {
            throw new ArithmeticException("logistic fit: expected a minimum within " + LARGEST_ITERATION
                    + " iterations, found a slope of " + solver.slope() + " where "
                    + solver.target(TOLERANCE) + " would do; use a larger L2 penalty than " + l2);
        }
        double[] found = solver.position();
        return new LogisticFit(
                Arrays.copyOf(found, width), intercept ? found[width] : 0, solver.value(), initial, iterations);
    }

    /// The loss at a position, and its gradient.
    private static double loss(List<Group> groups, double l2, boolean intercept, double[] at, double[] gradient) {
        int width = intercept ? at.length - 1 : at.length;
        Arrays.fill(gradient, 0);
        double loss = 0;
        for (Group group : groups) {
            double sign = group.positive ? 1 : -1;
            double scale = group.weight / group.rows.length;
            for (int row = 0; row < group.rows.length; row++) {
                double[] features = group.rows[row];
                double logit = sign * (group.offsets[row] + dot(at, features, width) + (intercept ? at[width] : 0));
                loss += scale * Logistic.softplus(-logit);
                double slope = -sign * scale * Logistic.sigmoid(-logit);
                for (int i = 0; i < width; i++) {
                    gradient[i] += slope * features[i];
                }
                if (intercept) {
                    gradient[width] += slope;
                }
            }
        }
        for (int i = 0; i < width; i++) {
            gradient[i] += l2 * at[i];
        }
        return loss + 0.5 * l2 * dot(at, at, width);
    }

    /// An inner product in four running sums, which a compiler may compute at once without changing
    /// their order.
    private static double dot(double[] a, double[] b, int length) {
        double s0 = 0;
        double s1 = 0;
        double s2 = 0;
        double s3 = 0;
        int i = 0;
        for (; i + 3 < length; i += 4) {
            s0 += a[i] * b[i];
            s1 += a[i + 1] * b[i + 1];
            s2 += a[i + 2] * b[i + 2];
            s3 += a[i + 3] * b[i + 3];
        }
        for (; i < length; i++) {
            s0 += a[i] * b[i];
        }
        return (s0 + s1) + (s2 + s3);
    }
}

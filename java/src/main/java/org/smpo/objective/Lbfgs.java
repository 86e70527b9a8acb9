package org.smpo.objective;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Iterator;

/// Minimiser of a smooth convex function: L-BFGS with ten corrections and a line search by bisection to
/// the weak Wolfe conditions. Deterministic. It starts at 0.
final class Lbfgs {
    private static final int CORRECTIONS = 10;
    private static final int LINE_STEPS = 60;
    private static final double DECREASE = 1e-4;
    private static final double CURVATURE = 0.9;
    /// Near the minimum values differ by rounding alone; there the slope decides (Hager and Zhang's
    /// approximate Wolfe condition, doi.org/10.1137/030601880).
    private static final double ROUNDING = 1e-13;

    /// A function and its gradient.
    interface Function {
        /// Returns the value at a position, and overwrites `gradient`.
        double at(double[] position, double[] gradient);
    }

    /// Differences of positions and gradients between two iterations.
    @SuppressWarnings("ArrayRecordComponent") // internal, never compared
    private record Correction(double[] position, double[] gradient, double product) {}

    private final Function function;
    private final Deque<Correction> corrections = new ArrayDeque<>();
    private final double initialSlope;
    private double[] position;
    private double[] gradient;
    private double value;

    Lbfgs(Function function, int dimensions) {
        this.function = function;
        this.position = new double[dimensions];
        this.gradient = new double[dimensions];
        this.value = function.at(position, gradient);
        this.initialSlope = slope();
    }

    double value() {
        return value;
    }

    double[] position() {
        return position.clone();
    }

    /// The largest magnitude of a partial derivative.
    double slope() {
        double largest = 0;
        for (double partial : gradient) {
            largest = Math.max(largest, Math.abs(partial));
        }
        return largest;
    }

    /// The slope at which the minimum is found.
    double target(double tolerance) {
        return tolerance * Math.max(1, initialSlope);
    }

    /// Iterates until the slope is below the target.
    ///
    /// @return number of iterations; −1 when the slope is not below the target after `limit` of them,
    ///     or when no step makes the value smaller
    int minimise(int limit, double tolerance) {
        for (int iteration = 0; iteration <= limit; iteration++) {
            if (slope() < target(tolerance)) {
                return iteration;
            }
            if (!step()) {
                return -1;
            }
        }
        return -1;
    }

    private boolean step() {
        double[] direction = direction();
        double descent = dot(gradient, direction);
        if (!(descent < 0)) {
            if (corrections.isEmpty()) {
                return false;
            }
            corrections.clear();
            return true;
        }
        double[] next = new double[position.length];
        double[] nextGradient = new double[position.length];
        double low = 0;
        double high = Double.POSITIVE_INFINITY;
        double length = corrections.isEmpty() ? Math.min(1, 1 / Math.sqrt(-descent)) : 1;
        for (int tries = 0; tries < LINE_STEPS; tries++) {
            for (int i = 0; i < next.length; i++) {
                next[i] = position[i] + length * direction[i];
            }
            double nextValue = function.at(next, nextGradient);
            double slope = dot(nextGradient, direction);
            boolean decreases = nextValue <= value + DECREASE * length * descent;
            boolean isFlat = nextValue <= value + ROUNDING * Math.abs(value) && slope <= (2 * DECREASE - 1) * descent;
            if (!decreases && !isFlat) {
                high = length;
            } else if (slope < CURVATURE * descent) {
                low = length;
            } else {
                accept(next, nextGradient, nextValue);
                return true;
            }
            length = high == Double.POSITIVE_INFINITY ? 2 * length : (low + high) / 2;
        }
        return false;
    }

    private void accept(double[] next, double[] nextGradient, double nextValue) {
        double[] moved = minus(next, position);
        double[] bent = minus(nextGradient, gradient);
        double product = dot(moved, bent);
        if (product > 0) {
            if (corrections.size() == CORRECTIONS) {
                corrections.removeFirst();
            }
            corrections.addLast(new Correction(moved, bent, product));
        }
        position = next;
        gradient = nextGradient;
        value = nextValue;
    }

    /// The two-loop recursion (Nocedal and Wright, Numerical Optimization, algorithm 7.4).
    private double[] direction() {
        double[] direction = new double[gradient.length];
        for (int i = 0; i < direction.length; i++) {
            direction[i] = -gradient[i];
        }
        double[] factors = new double[corrections.size()];
        int at = corrections.size();
        for (Iterator<Correction> newest = corrections.descendingIterator(); newest.hasNext(); ) {
            Correction correction = newest.next();
            at--;
            factors[at] = dot(correction.position, direction) / correction.product;
            add(direction, -factors[at], correction.gradient);
        }
        if (!corrections.isEmpty()) {
            Correction last = corrections.getLast();
            double scale = last.product / dot(last.gradient, last.gradient);
            for (int i = 0; i < direction.length; i++) {
                direction[i] *= scale;
            }
        }
        for (Correction correction : corrections) {
            double factor = dot(correction.gradient, direction) / correction.product;
            add(direction, factors[at] - factor, correction.position);
            at++;
        }
        return direction;
    }

    private static void add(double[] to, double factor, double[] values) {
        for (int i = 0; i < to.length; i++) {
            to[i] += factor * values[i];
        }
    }

    private static double[] minus(double[] a, double[] b) {
        double[] difference = new double[a.length];
        for (int i = 0; i < a.length; i++) {
            difference[i] = a[i] - b[i];
        }
        return difference;
    }

    private static double dot(double[] a, double[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += a[i] * b[i];
        }
        return sum;
    }
}

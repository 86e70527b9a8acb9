package org.smpo.schedule;

import java.util.Arrays;
import java.util.Map;

/// UniPC, a multistep predictor with a corrector that costs no further evaluation (Zhao et al., arXiv 2302.04867),
/// in its form that predicts clean latents.
///
/// @param solverOrder 1 to 3
/// @param bh1 whether B(h) is h (`bh1`) instead of exp(h) - 1 (`bh2`)
/// @param lowerOrderFinal take the last steps with falling orders, down to 1
/// @param karrasSigmas levels spaced by Karras et al. with rho 7, between the last and the first training
///     timestep's
public record UniPc(
        TimestepSpacing timestepSpacing,
        int stepsOffset,
        int solverOrder,
        boolean bh1,
        boolean lowerOrderFinal,
        boolean karrasSigmas,
        FinalSigma finalSigma)
        implements Sampler {
    private static final int MAX_ORDER = SamplerPlan.MAX_HISTORY - 1;

    public UniPc {
        if (solverOrder < 1 || solverOrder > MAX_ORDER) {
            throw new IllegalArgumentException("solver_order: expected 1 to " + MAX_ORDER + ", got " + solverOrder);
        }
        if (!lowerOrderFinal && solverOrder > 1 && finalSigma == FinalSigma.ZERO) {
            throw new IllegalArgumentException("lower_order_final: expected true, since a step of order " + solverOrder
                    + " to a level without noise is undefined, got false");
        }
    }

    public static UniPc fromConfig(Map<String, Object> config) {
        SchedulerConfig values = new SchedulerConfig(config, SchedulerClass.UNIPC.className);
        values.requireOff("thresholding", false, "thresholding latents has no coefficients");
        values.requireOn("predict_x0", true, "only the form that predicts clean latents is supported");
        values.requireEmpty("disable_corrector", "every step is corrected");
        values.requireAbsent("solver_p", "the predictor is UniPC's own");
        values.requireKnownSigmas();
        values.requireNoFlowMatching();
        return new UniPc(
                values.timestepSpacing(TimestepSpacing.LINSPACE),
                values.integer("steps_offset", 0),
                values.integer("solver_order", 2),
                isBh1(values),
                values.flag("lower_order_final", true),
                values.flag("use_karras_sigmas", false),
                values.finalSigma());
    }

    /// The solver types of DPM-Solver, which many files hold, stand for `bh2`, as in diffusers.
    private static boolean isBh1(SchedulerConfig values) {
        return values.oneOf("solver_type", "bh2", "bh1", "bh2", "midpoint", "heun", "logrho")
                .equals("bh1");
    }

    @Override
    public SamplerPlan plan(NoiseSchedule schedule, int requested) {
        SigmaGrid grid = karrasSigmas
                ? SigmaGrid.karras(schedule, requested)
                : SigmaGrid.solver(schedule, timestepSpacing, stepsOffset, Double.NEGATIVE_INFINITY, requested);
        grid.endAt(finalSigma);
        int steps = grid.steps();
        SamplerPlan plan = new SamplerPlan(this, steps, 1);
        Interval last = null;
        for (int i = 0; i < steps; i++) {
            plan.timestep[i] = grid.timestep(i);
            plan.keepCleanLatents(i, grid.sigma(i), schedule.predictionType());
            double[] weights = new double[SamplerPlan.MAX_HISTORY];
            if (last != null) {
                last.correct(weights);
            }
            Interval next = interval(grid, i, order(i, steps));
            plan.sample[i] = grid.noise(i + 1) / grid.noise(i);
            for (int j = 0; j < weights.length; j++) {
                weights[j] *= plan.sample[i];
            }
            next.predict(weights);
            System.arraycopy(weights, 0, plan.history, i * SamplerPlan.MAX_HISTORY, weights.length);
            last = next;
        }
        return plan;
    }

    private int order(int step, int steps) {
        int order = Math.min(solverOrder, step + 1);
        return lowerOrderFinal ? Math.min(order, steps - step) : order;
    }

    private Interval interval(SigmaGrid grid, int step, int order) {
        // Half log-SNR is -log(sigma).
        double h = Math.log(grid.sigma(step) / grid.sigma(step + 1));
        double[] ratios = new double[order];
        for (int k = 1; k < order; k++) {
            ratios[k - 1] = Math.log(grid.sigma(step) / grid.sigma(step - k)) / h;
        }
        ratios[order - 1] = 1;
        return new Interval(grid.signal(step + 1), -h, bh1 ? -h : Math.expm1(-h), ratios);
    }

    /// The step between two levels. With D_k = (m_k - m_0) / r_k over the clean latents m_k that were predicted k
    /// steps before, and m the one predicted at the end of the step,
    ///
    /// ```text
    /// x       = (sigma' / sigma) y - signal (expm1(-h) m_0 + B sum over k of p_k D_k)
    /// y'      = (sigma' / sigma) y - signal (expm1(-h) m_0 + B sum over k of c_k D_k + B c_last (m - m_0))
    /// ```
    ///
    /// where x is predicted from the corrected latents y, and y' corrects x. So y' is x plus a combination of
    /// predictions: the run need not keep y.
    private static final class Interval {
        private final double signal;
        private final double minusH;
        private final double b;
        private final double[] ratios;

        /// @param signal factor of the clean latents at the end
        /// @param minusH minus the step in half log-SNR
        /// @param b B(h)
        /// @param ratios r_1, ... and 1; as many as the order
        Interval(double signal, double minusH, double b, double[] ratios) {
            this.signal = signal;
            this.minusH = minusH;
            this.b = b;
            this.ratios = ratios.clone();
        }

        /// Adds the weights of m_0, m_1, ... in x.
        void predict(double[] weights) {
            if (minusH == 0) {
                return;
            }
            weights[0] -= signal * Math.expm1(minusH);
            double[] p = predictor();
            for (int k = 1; k <= p.length; k++) {
                addDifference(weights, 0, k, p[k - 1]);
            }
        }

        /// Adds the weights of m, m_0, m_1, ... in y' - x.
        void correct(double[] weights) {
            double[] p = predictor();
            double[] c = ratios.length == 1 ? new double[] {1 / 2.0} : solve(ratios.length);
            for (int k = 1; k <= p.length; k++) {
                addDifference(weights, 1, k, c[k - 1] - p[k - 1]);
            }
            double change = signal * b * c[c.length - 1];
            weights[0] -= change;
            weights[1] += change;
        }

        /// @param start place of m_0 in the history
        private void addDifference(double[] weights, int start, int k, double factor) {
            double weight = signal * b * factor / ratios[k - 1];
            weights[start + k] -= weight;
            weights[start] += weight;
        }

        private double[] predictor() {
            return switch (ratios.length) {
                case 1 -> new double[0];
                case 2 -> new double[] {1 / 2.0};
                default -> solve(ratios.length - 1);
            };
        }

        /// Solves sum over k of r_k^i w_k = b_i for i from 0 to size - 1, where b_i is (i + 1)! phi_(i + 2)(-h) (-h) /
        /// B: the rule is then exact for polynomials of that degree.
        private double[] solve(int size) {
            double[][] rows = new double[size][size + 1];
            double factorial = 1;
            double phi = Math.expm1(minusH) / minusH - 1;
            for (int i = 0; i < size; i++) {
                for (int k = 0; k < size; k++) {
                    rows[i][k] = Math.pow(ratios[k], i);
                }
                rows[i][size] = phi * factorial / b;
                factorial *= i + 2;
                phi = phi / minusH - 1 / factorial;
            }
            return eliminate(rows);
        }

        /// Gauss's elimination with the largest pivot of each column.
        private static double[] eliminate(double[][] rows) {
            int size = rows.length;
            for (int column = 0; column < size; column++) {
                int at = column;
                Arrays.sort(rows, column, size, (x, y) -> Double.compare(Math.abs(y[at]), Math.abs(x[at])));
                for (int row = column + 1; row < size; row++) {
                    double factor = rows[row][column] / rows[column][column];
                    for (int k = column; k <= size; k++) {
                        rows[row][k] -= factor * rows[column][k];
                    }
                }
            }
            double[] solution = new double[size];
            for (int row = size - 1; row >= 0; row--) {
                double rest = rows[row][size];
                for (int k = row + 1; k < size; k++) {
                    rest -= rows[row][k] * solution[k];
                }
                solution[row] = rest / rows[row][row];
            }
            return solution;
        }
    }
}

package org.smpo.schedule;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/// Runs plans on one number instead of latents, with a smooth function instead of a UNet: the
/// counterpart of `toy` in tools/golden/schedule.py.
final class ToyModel {
    private ToyModel() {}

    static double output(double x, double timestep) {
        return 0.7 * Math.sin(1.3 * x + 0.002 * timestep) + 0.2 * x;
    }

    static double freshNoise(int step) {
        return Math.cos(2.5 * step + 1.1);
    }

    /// Returns the latent after each step of a row.
    static double[] invert(InversionPlan plan, int row, double x0) {
        return invert(plan, row, x0, -1);
    }

    /// Likewise, with the output coefficient of step `mutated` changed by 1e-5.
    static double[] invert(InversionPlan plan, int row, double x0, int mutated) {
        double[] levels = new double[plan.steps(row)];
        double x = x0;
        for (int i = 0; i < levels.length; i++) {
            int k = plan.rowStart(row) + i;
            double b = plan.outputCoefficient(k) + (i == mutated ? 1e-5 : 0);
            double out = output(x, plan.timestep(k));
            if (plan.averages(k)) {
                double ahead = plan.sampleCoefficient(k) * x + b * out;
                out = (out + output(ahead, plan.timestep(k))) / 2;
            }
            x = plan.sampleCoefficient(k) * x + b * out + plan.noiseCoefficient(k) * freshNoise(i);
            levels[i] = x;
        }
        return levels;
    }

    /// Returns the latent after each step, by the loop in [SamplerPlan]'s description.
    static double[] sample(SamplerPlan plan, double start) {
        return sample(plan, start, -1);
    }

    /// Likewise, with the coefficient of the current output at step `mutated` changed by 1e-5.
    static double[] sample(SamplerPlan plan, double start, int mutated) {
        double[] levels = new double[plan.steps()];
        double[] history = emptyHistory();
        double saved = 0;
        double x = plan.initialNoiseScale() * start;
        for (int i = 0; i < levels.length; i++) {
            double out = output(plan.inputScale(i) * x, plan.timestep(i));
            System.arraycopy(history, 0, history, 1, history.length - 1);
            history[0] = plan.historySampleCoefficient(i) * x + plan.historyOutputCoefficient(i) * out;
            double next = plan.sampleCoefficient(i) * x
                    + plan.savedCoefficient(i) * saved
                    + plan.noiseCoefficient(i) * freshNoise(i);
            for (int j = 0; j < SamplerPlan.MAX_HISTORY; j++) {
                next += (plan.historyCoefficient(i, j) + (i == mutated && j == 0 ? 1e-5 : 0)) * history[j];
            }
            if (plan.saves(i)) {
                saved = x;
            }
            history = kept(plan, i, history);
            x = next;
            levels[i] = x;
        }
        return levels;
    }

    /// A history with a place more than a step can read, for the oldest entry while the step's own is in front.
    static double[] emptyHistory() {
        return new double[SamplerPlan.MAX_HISTORY + 1];
    }

    /// The history after a step, from the one that the step read.
    static double[] kept(SamplerPlan plan, int step, double[] read) {
        List<Double> entries = new ArrayList<>(Arrays.stream(read).boxed().toList());
        entries.subList(1, 1 + plan.drops(step)).clear();
        if (!plan.keeps(step)) {
            entries.remove(0);
        }
        double[] kept = emptyHistory();
        for (int j = 0; j < Math.min(entries.size(), SamplerPlan.MAX_HISTORY); j++) {
            kept[j] = entries.get(j);
        }
        return kept;
    }
}

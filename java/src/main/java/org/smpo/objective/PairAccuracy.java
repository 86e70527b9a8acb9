package org.smpo.objective;

import java.util.OptionalDouble;

/// How well a reward agrees with the choices of people.
///
/// A lead is the reward of the image that people chose minus that of the other. Divided by the
/// temperature T it is the log-odds of that choice, so the mean negative log-likelihood is mean
/// softplus(−lead/T), in nats per pair; a coin has log 2 = 0.693.
///
/// @param pairs number of pairs
/// @param accuracy share of leads above 0, where a lead of 0 counts half
/// @param temperature temperature of the lowest mean negative log-likelihood; empty when there is none,
///     because leads do not favour the choices on average, or are never against them
/// @param nats mean negative log-likelihood at that temperature; of a coin, or 0, where there is none
public record PairAccuracy(int pairs, double accuracy, OptionalDouble temperature, double nats) {
    private static final String OWNER = "leads";
    private static final int BISECTIONS = 200;

    /// Measures some leads.
    ///
    /// @throws IllegalArgumentException when there is none, or one is not finite
    public static PairAccuracy of(double[] leads) {
        if (leads.length == 0) {
            throw new IllegalArgumentException("leads: expected at least one pair, got none");
        }
        double right = 0;
        double sum = 0;
        boolean hasNegative = false;
        for (int pair = 0; pair < leads.length; pair++) {
            Require.finite(OWNER, "pair " + pair, leads[pair]);
            right += leads[pair] > 0 ? 1 : leads[pair] == 0 ? 0.5 : 0;
            sum += leads[pair];
            hasNegative |= leads[pair] < 0;
        }
        double accuracy = right / leads.length;
        if (!(sum > 0)) {
            return new PairAccuracy(leads.length, accuracy, OptionalDouble.empty(), Math.log(2));
        }
        if (!hasNegative) {
            return new PairAccuracy(leads.length, accuracy, OptionalDouble.empty(), nats(leads, 0));
        }
        double temperature = 1 / bestSlope(leads);
        return new PairAccuracy(leads.length, accuracy, OptionalDouble.of(temperature), nats(leads, temperature));
    }

    /// Returns the mean negative log-likelihood of the choices in nats.
    ///
    /// @param temperature T ≥ 0; at 0 it is the limit, which is infinite when a lead is below 0
    public static double nats(double[] leads, double temperature) {
        double sum = 0;
        for (double lead : leads) {
            sum += lead == 0 ? Math.log(2) : Logistic.softplus(-lead / temperature);
        }
        return sum / leads.length;
    }

    /// Returns the 1/T at which the likelihood is highest. Its derivative falls from above 0 to below 0
    /// once.
    private static double bestSlope(double[] leads) {
        double low = 0;
        double high = 1;
        while (derivative(leads, high) > 0) {
            low = high;
            high *= 2;
        }
        for (int i = 0; i < BISECTIONS; i++) {
            double middle = (low + high) / 2;
            if (derivative(leads, middle) > 0) {
                low = middle;
            } else {
                high = middle;
            }
        }
        return (low + high) / 2;
    }

    private static double derivative(double[] leads, double slope) {
        double sum = 0;
        for (double lead : leads) {
            sum += lead * Logistic.sigmoid(-slope * lead);
        }
        return sum;
    }
}

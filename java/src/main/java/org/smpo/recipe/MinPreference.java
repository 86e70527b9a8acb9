package org.smpo.recipe;

import java.util.List;
import java.util.Optional;

/// The smallest preference of a pair that is trained on: the same at every sampling step, or rising with
/// the noise.
///
/// @param clean preference at the step with the least noise
/// @param noisy preference at the step with the most noise
public record MinPreference(double clean, double noisy) implements Written {
    private static final String KEY = "min_preference";

    /// Reads a number, or two of them.
    static MinPreference read(Section in) throws RecipeException {
        Optional<Node> found = in.find(KEY);
        if (found.isEmpty() || found.get() instanceof Node.Scalar) {
            double same = in.number(KEY, 0);
            return new MinPreference(same, same);
        }
        List<Double> both = in.numbers(KEY);
        if (both.size() != 2) {
            throw in.wrong(KEY, "a number, or one for the least and one for the most noise", found.get());
        }
        return new MinPreference(both.get(0), both.get(1));
    }

    /// The preference at a level of noise, linear in sigma.
    ///
    /// @param sigma square root of the share of noise
    /// @param least sigma of the step with the least noise
    /// @param most sigma of the step with the most noise
    public double at(double sigma, double least, double most) {
        return most == least ? clean : clean + (noisy - clean) * (sigma - least) / (most - least);
    }

    @Override
    public Object written() {
        return clean == noisy ? (Object) clean : List.of(clean, noisy);
    }

    @Override
    public String toString() {
        return clean == noisy ? Double.toString(clean) : clean + " to " + noisy;
    }
}

package org.smpo.train;

import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.List;
import org.smpo.ffi.LoraSpec;
import org.smpo.ffi.NativeModel;
import org.smpo.ffi.ParameterInfo;
import org.smpo.io.DType;
import org.smpo.random.Philox;
import org.smpo.random.PhiloxStream;
import org.smpo.random.Purpose;
import org.smpo.recipe.WeightsRecipe;

/// New low-rank adapters of a UNet. Down projections are sampled from a normal distribution with standard deviation
/// 1 / rank and up projections are zero, as in diffusers' training scripts (`init_lora_weights="gaussian"`), so the
/// policy begins equal to the reference.
final class Adapters {
    private static final String WEIGHT = ".weight";
    private static final String DOWN = ".lora_A.weight";

    private Adapters() {}

    /// Adds adapters to the modules that a recipe selects.
    ///
    /// @throws IllegalArgumentException when the recipe selects no module
    static void add(NativeModel unet, WeightsRecipe.Lora recipe, long seed) {
        List<String> modules = new ArrayList<>();
        for (ParameterInfo parameter : unet.parameters()) {
            // Linear layers and convolutions have weights of more than one dimension.
            if (parameter.name().endsWith(WEIGHT) && parameter.shape().size() > 1) {
                String module = parameter.name().substring(0, parameter.name().length() - WEIGHT.length());
                if (recipe.targets().selects(module)) {
                    modules.add(module);
                }
            }
        }
        if (modules.isEmpty()) {
            throw new IllegalArgumentException("train.weights.targets: no module of the UNet is called, or ends in, "
                    + String.join(", ", recipe.targets().names()));
        }
        unet.addLora(new LoraSpec(recipe.rank(), recipe.alpha(), modules));
        Philox philox = new Philox(seed);
        int index = 0;
        for (ParameterInfo parameter : unet.parameters()) {
            if (parameter.name().endsWith(DOWN)) {
                float[] values = normal(
                        philox.stream(Purpose.INITIAL_WEIGHTS, 0, index++),
                        Math.toIntExact(parameter.elements()),
                        1.0 / recipe.rank());
                unet.write(parameter.name(), DType.F32, parameter.shape(), FloatBuffer.wrap(values));
            }
        }
    }

    /// Normal values by the method of Box and Muller, two from each pair of uniform values.
    private static float[] normal(PhiloxStream stream, int count, double deviation) {
        float[] values = new float[count];
        for (int i = 0; i < count; i += 2) {
            // nextDouble is below 1, so that the logarithm's argument is above 0.
            double radius = deviation * Math.sqrt(-2 * StrictMath.log(1 - stream.nextDouble()));
            double angle = 2 * Math.PI * stream.nextDouble();
            values[i] = (float) (radius * StrictMath.cos(angle));
            if (i + 1 < count) {
                values[i + 1] = (float) (radius * StrictMath.sin(angle));
            }
        }
        return values;
    }
}

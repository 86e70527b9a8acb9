package org.smpo.schedule;

/// Coefficients of steps by which a UNet moves the images of a batch, each image with its own list:
///
/// ```
/// x'     = sample x + output out + noise N(0, 1)
/// target = targetSample x + targetClean x0          after the image's last step, from its clean latents
/// x0
/// ```
///
/// Steps of all images, the rows, lie in flat arrays, row after row: row i's are `rowStarts()[i]` to
/// `rowStarts()[i + 1]`, end excluded. The caller owns the arrays.
public sealed interface LatentSteps permits InversionPlan, RolloutPlan {
    /// Index of each row's first step, and the number of all steps.
    int[] rowStarts();

    /// The timestep that the UNet gets at each step.
    int[] timesteps();

    /// Each step's coefficient of x.
    double[] sampleCoefficients();

    /// Each step's coefficient of the output.
    double[] outputCoefficients();

    /// Each step's coefficient of fresh noise.
    double[] noiseCoefficients();

    /// Whether each step uses the mean of two outputs.
    boolean[] averages();

    /// Each row's coefficient of x in the target.
    double[] targetSampleCoefficients();

    /// Each row's coefficient of x0 in the target.
    double[] targetCleanCoefficients();
}

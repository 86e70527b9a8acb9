package org.smpo.schedule;

import java.util.Arrays;
import java.util.Optional;

/// The diffusers scheduler classes whose files are read, with the default of diffusers 0.42.1 for each absent
/// key; null if the class has no such parameter.
enum SchedulerClass {
    DDIM("DDIMScheduler", TimestepSpacing.LEADING, true, true, true),
    DDIM_INVERSE("DDIMInverseScheduler", TimestepSpacing.LEADING, true, true, true),
    DDPM("DDPMScheduler", TimestepSpacing.LEADING, true, null, true),
    DPM_SOLVER_MULTISTEP("DPMSolverMultistepScheduler", TimestepSpacing.LINSPACE, null, null, true),
    EULER("EulerDiscreteScheduler", TimestepSpacing.LINSPACE, null, null, true),
    EULER_ANCESTRAL("EulerAncestralDiscreteScheduler", TimestepSpacing.LINSPACE, null, null, true),
    LMS("LMSDiscreteScheduler", TimestepSpacing.LINSPACE, null, null, false),
    PNDM("PNDMScheduler", TimestepSpacing.LEADING, null, false, false),
    UNIPC("UniPCMultistepScheduler", TimestepSpacing.LINSPACE, null, null, true);

    final String className;
    final TimestepSpacing timestepSpacing;
    final Boolean clipSample;
    final Boolean setAlphaToOne;
    final boolean canRescaleBetas;

    SchedulerClass(
            String className,
            TimestepSpacing timestepSpacing,
            Boolean clipSample,
            Boolean setAlphaToOne,
            boolean canRescaleBetas) {
        this.className = className;
        this.timestepSpacing = timestepSpacing;
        this.clipSample = clipSample;
        this.setAlphaToOne = setAlphaToOne;
        this.canRescaleBetas = canRescaleBetas;
    }

    /// The class of a name; empty for one that is not listed here.
    static Optional<SchedulerClass> named(String className) {
        return Arrays.stream(values())
                .filter(c -> c.className.equals(className))
                .findFirst();
    }
}

package org.smpo.objective;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/// What a list of methods says about an [Objective]; [Method] reads it.
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.TYPE)
@interface MethodInfo {
    /// Number of its loss in `smpo.h` (`enum smpo_pair_loss_kind`).
    int kind();

    /// Name of the method as its paper has it.
    String title();

    /// Number of its paper on arXiv; empty where there is none.
    String arxiv();

    /// The loss of one pair in a line.
    String loss();
}

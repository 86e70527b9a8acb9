package org.smpo.objective;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/// Documentation and default of a parameter of an [Objective]; [Method] reads it.
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.RECORD_COMPONENT)
@interface ParameterInfo {
    /// The parameter as a noun phrase.
    String value();

    /// The value where a recipe names none; NaN: a recipe must name one.
    double byDefault() default Double.NaN;
}

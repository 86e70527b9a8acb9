package org.smpo.train;

/// A loss or a gradient that is NaN or infinite. No weight has changed since the last good step.
public final class NonFiniteStepException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    NonFiniteStepException(String message) {
        super(message + "; no weight was changed. Lower the learning rate or beta, use fp32, or inspect these pairs");
    }
}

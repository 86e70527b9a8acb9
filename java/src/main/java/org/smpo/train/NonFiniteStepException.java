package org.smpo.train;

/// Thrown when a loss or a gradient is NaN or infinite. No weight has changed since the last good step.
public final class NonFiniteStepException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    NonFiniteStepException(String message) {
        super(message + "; no weight was changed. Lower the learning rate or beta, use fp32, or inspect these pairs");
    }
}

package org.smpo.objective;

/// A parameter that is out of its range, as in `dmpo: alpha: expected a number in (0, 1), got 1.0`.
public final class InvalidParameterException extends IllegalArgumentException {
    private static final long serialVersionUID = 1L;

    private final String parameter;
    private final String detail;

    InvalidParameterException(String owner, String parameter, String detail) {
        super(owner + ": " + parameter + ": " + detail);
        this.parameter = parameter;
        this.detail = detail;
    }

    /// Name of the parameter, such as `alpha`; a recipe's key has underscores for its spaces.
    public String parameter() {
        return parameter;
    }

    /// What was expected and found.
    public String detail() {
        return detail;
    }
}

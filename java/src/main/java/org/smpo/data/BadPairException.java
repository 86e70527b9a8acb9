package org.smpo.data;

/// A fault in one record, which becomes a [BadPair].
final class BadPairException extends Exception {
    private static final long serialVersionUID = 1L;

    private final Problem problem;

    BadPairException(Problem problem, String message) {
        super(message);
        this.problem = problem;
    }

    BadPair of(int index, String id) {
        return new BadPair(index, id, problem, getMessage());
    }
}

package org.smpo.data;

/// Something is wrong with one record; becomes a [BadPair].
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

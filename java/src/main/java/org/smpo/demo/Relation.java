package org.smpo.demo;

/// Where the first of two objects is, seen from the second.
public enum Relation {
    LEFT_OF("left of"),
    RIGHT_OF("right of"),
    ABOVE("above"),
    BELOW("below");

    private final String words;

    Relation(String words) {
        this.words = words;
    }

    /// As captions have it.
    String words() {
        return words;
    }

    /// Whether the places of two objects differ along the rows.
    boolean horizontal() {
        return this == LEFT_OF || this == RIGHT_OF;
    }

    /// The relation between the second object and the first.
    Relation converse() {
        return switch (this) {
            case LEFT_OF -> RIGHT_OF;
            case RIGHT_OF -> LEFT_OF;
            case ABOVE -> BELOW;
            case BELOW -> ABOVE;
        };
    }

    /// The relation of a first object that is dx to the right of and dy below the second: the axis along which
    /// they are farther apart decides.
    static Relation of(double dx, double dy) {
        if (Math.abs(dx) > Math.abs(dy)) {
            return dx < 0 ? LEFT_OF : RIGHT_OF;
        }
        return dy < 0 ? ABOVE : BELOW;
    }
}

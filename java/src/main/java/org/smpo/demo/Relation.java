package org.smpo.demo;

/// Position of the first of two objects relative to the second.
public enum Relation {
    LEFT_OF("left of"),
    RIGHT_OF("right of"),
    ABOVE("above"),
    BELOW("below");

    private final String words;

    Relation(String words) {
        this.words = words;
    }

    /// Returns the words of the caption.
    String words() {
        return words;
    }

    /// Returns whether the objects are side by side rather than one above the other.
    boolean horizontal() {
        return this == LEFT_OF || this == RIGHT_OF;
    }

    /// Returns the relation of the second object to the first.
    Relation converse() {
        return switch (this) {
            case LEFT_OF -> RIGHT_OF;
            case RIGHT_OF -> LEFT_OF;
            case ABOVE -> BELOW;
            case BELOW -> ABOVE;
        };
    }

    /// Returns the relation of a first object that is dx to the right of the second and dy below it. The
    /// axis along which they are farther apart decides.
    static Relation of(double dx, double dy) {
        if (Math.abs(dx) > Math.abs(dy)) {
            return dx < 0 ? LEFT_OF : RIGHT_OF;
        }
        return dy < 0 ? ABOVE : BELOW;
    }
}

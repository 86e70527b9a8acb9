package org.smpo.demo;

/// The shapes of objects. A radius gives each of them about the same visual weight.
public enum Shape {
    CIRCLE {
        @Override
        double distance(double dx, double dy, double radius) {
            return Math.sqrt(dx * dx + dy * dy) - radius;
        }

        @Override
        double unitArea() {
            return Math.PI;
        }
    },
    SQUARE {
        @Override
        double distance(double dx, double dy, double radius) {
            return Math.max(Math.abs(dx), Math.abs(dy)) - HALF_SIDE * radius;
        }

        @Override
        double unitArea() {
            return 4 * HALF_SIDE * HALF_SIDE;
        }
    },
    /// Equilateral, one corner up, its centroid in the middle.
    TRIANGLE {
        @Override
        double distance(double dx, double dy, double radius) {
            // The sides are half as far from the centroid as the corners.
            return Math.max(dy, HALF_SQRT_3 * Math.abs(dx) - 0.5 * dy) - 0.5 * CORNER * radius;
        }

        @Override
        double unitArea() {
            return 1.5 * HALF_SQRT_3 * CORNER * CORNER;
        }
    },
    RING {
        @Override
        double distance(double dx, double dy, double radius) {
            double fromCentre = Math.sqrt(dx * dx + dy * dy);
            return Math.max(fromCentre - radius, HOLE * radius - fromCentre);
        }

        @Override
        double unitArea() {
            return Math.PI * (1 - HOLE * HOLE);
        }
    };

    /// Bound of all shapes: nothing of an object is farther than this many radii from its centre.
    static final double REACH = 1.3;

    private static final double HALF_SIDE = 0.9;
    private static final double CORNER = 1.25;
    private static final double HOLE = 0.55;
    private static final double HALF_SQRT_3 = 0.8660254037844386;

    /// Signed distance to the outline, in pixels, negative inside; beyond a corner a lower bound.
    ///
    /// @param dx to the right of the centre
    /// @param dy below the centre
    abstract double distance(double dx, double dy, double radius);

    /// The area at radius 1.
    abstract double unitArea();

    /// The part of the pixel about this place that an object of this shape covers, 0 to 1.
    double coverage(double dx, double dy, double radius) {
        return Math.clamp(0.5 - distance(dx, dy, radius), 0.0, 1.0);
    }
}

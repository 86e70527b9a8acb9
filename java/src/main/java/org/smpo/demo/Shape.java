package org.smpo.demo;

/// The shapes of objects. At equal radius they have about the same visual weight.
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
    /// An equilateral triangle with one corner up, centred at its centroid.
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

    /// Bound of all shapes: no part of an object is farther from its centre than this many radii.
    static final double REACH = 1.3;

    private static final double HALF_SIDE = 0.9;
    private static final double CORNER = 1.25;
    private static final double HOLE = 0.55;
    private static final double HALF_SQRT_3 = 0.8660254037844386;

    /// Returns the signed distance to the outline in pixels, negative inside; beyond a corner, a lower
    /// bound.
    ///
    /// @param dx offset to the right of the centre
    /// @param dy offset below the centre
    abstract double distance(double dx, double dy, double radius);

    /// Returns the area at radius 1.
    abstract double unitArea();

    /// Returns the fraction of the pixel at this position that the shape covers, 0 to 1.
    double coverage(double dx, double dy, double radius) {
        return Math.clamp(0.5 - distance(dx, dy, radius), 0.0, 1.0);
    }
}

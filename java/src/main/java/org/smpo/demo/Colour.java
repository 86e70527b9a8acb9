package org.smpo.demo;

/// The colours of objects. Their hues are at least 50 degrees apart, so that a mixture with the light grey
/// background (at an edge or in a blurred hole) is still nearest to its own colour.
public enum Colour {
    RED(214, 40, 40),
    YELLOW(238, 200, 20),
    GREEN(40, 160, 60),
    CYAN(30, 195, 215),
    BLUE(40, 70, 215),
    PURPLE(155, 50, 195);

    private final int red;
    private final int green;
    private final int blue;

    Colour(int red, int green, int blue) {
        this.red = red;
        this.green = green;
        this.blue = blue;
    }

    /// Returns channel 0 (red), 1 (green) or 2 (blue), 0 to 255.
    int channel(int channel) {
        return switch (channel) {
            case 0 -> red;
            case 1 -> green;
            case 2 -> blue;
            default -> throw new IndexOutOfBoundsException(channel);
        };
    }
}

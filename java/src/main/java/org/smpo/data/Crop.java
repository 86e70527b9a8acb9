package org.smpo.data;

/// Which square of a resized image is kept.
public enum Crop {
    /// The middle, rounded as torchvision's `CenterCrop` does.
    CENTRE,
    /// A random position for each image and epoch.
    RANDOM
}

package org.smpo.data;

/// Which square of a picture is kept.
public enum Crop {
    /// The middle one, as torchvision's `CenterCrop` rounds it.
    CENTRE,
    /// One drawn for each image and epoch.
    RANDOM
}

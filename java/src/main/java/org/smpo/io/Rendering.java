package org.smpo.io;

/// Treatment of orientation, transparency and 16-bit grey, which a viewer shows and Pillow's plain
/// `Image.open(file).convert("RGB")` ignores.
public enum Rendering {
    /// As Pillow does: the EXIF orientation is ignored, transparency is dropped, and 16-bit grey is clipped
    /// at 255. Published reward models were trained and are evaluated with it.
    PILLOW,
    /// As a viewer does: the EXIF orientation is applied, transparency is blended on white, and 16-bit grey
    /// is scaled to 8 bits.
    VIEWER
}

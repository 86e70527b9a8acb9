package org.smpo.recipe;

import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;
import org.smpo.data.Crop;

/// Source of pairs, and augmentation of their images and captions.
///
/// @param paths Parquet files, folders, tar shards, or folders of them; relative to the working directory
/// @param resolution side of the training images in pixels, a multiple of 8
/// @param crop square that is cut from the resized image
/// @param flip whether an image is mirrored, with probability ½
/// @param sharedAugmentation whether both images of a pair get the same crop and the same flip
/// @param captionDropout probability of an empty caption, per pair
/// @param heldOut pairs that are used for evaluation and not for training
/// @param maxBadFraction share of bad records above which a run fails, 0 to 1
/// @param decodeThreads number of images decoded at once; absent: one per processor
public record DataRecipe(
        List<Path> paths,
        int resolution,
        Crop crop,
        boolean flip,
        boolean sharedAugmentation,
        double captionDropout,
        HeldOut heldOut,
        double maxBadFraction,
        OptionalInt decodeThreads) {
    private static final int LATENT_SCALE = 8;

    /// @throws IllegalArgumentException naming the key whose value is out of range
    public DataRecipe {
        paths = List.copyOf(paths);
        Check.that(!paths.isEmpty(), "paths", "at least one path", "none");
        Check.that(
                resolution >= LATENT_SCALE && resolution % LATENT_SCALE == 0,
                "resolution",
                "a positive multiple of " + LATENT_SCALE,
                resolution);
        Check.unit("caption_dropout", captionDropout);
        Check.unit("max_bad_fraction", maxBadFraction);
        if (decodeThreads.isPresent()) {
            Check.atLeast(1, "decode_threads", decodeThreads.getAsInt());
        }
    }

    static DataRecipe read(Section in) throws RecipeException {
        return in.build(() -> new DataRecipe(
                in.paths("paths"),
                in.small("resolution", 512),
                in.choice("crop", Crop.class, Crop.CENTRE),
                in.flag("flip", true),
                in.flag("shared_augmentation", false),
                in.number("caption_dropout", 0.2),
                in.heldOut("held_out", new HeldOut.Count(0)),
                in.number("max_bad_fraction", 0.01),
                in.smallOrAuto("decode_threads", OptionalInt.empty())));
    }
}

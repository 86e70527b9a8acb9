package org.smpo.recipe;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import org.smpo.data.Crop;

/// Source of pairs, and augmentation of their images and captions.
///
/// @param paths Parquet files, folders, tar shards, or folders of them; relative to the working directory
/// @param split split of the folders among the paths, such as validation; absent: train, where there are several.
///     Written only when present, so that recipes from before this key keep their text.
/// @param resolution side of the training images in pixels, a multiple of 8; absent: the model's own
/// @param crop square that is cut from the resized image
/// @param flip whether an image is mirrored, with probability ½
/// @param sharedAugmentation whether both images of a pair get the same crop and the same flip
/// @param captionDropout probability of an empty caption, per pair
/// @param heldOut pairs that are used for evaluation and not for training
/// @param maxBadFraction share of bad records above which a run fails, 0 to 1
/// @param decodeThreads number of images decoded at once; absent: one per processor
public record DataRecipe(
        List<Path> paths,
        Optional<String> split,
        OptionalInt resolution,
        Crop crop,
        boolean flip,
        boolean sharedAugmentation,
        double captionDropout,
        HeldOut heldOut,
        double maxBadFraction,
        OptionalInt decodeThreads)
        implements Written {
    private static final int LATENT_SCALE = 8;
    private static final String SPLIT = "split";

    /// @throws IllegalArgumentException naming the key whose value is out of range
    public DataRecipe {
        paths = List.copyOf(paths);
        Check.that(!paths.isEmpty(), "paths", "at least one path", "none");
        if (resolution.isPresent()) {
            int side = resolution.getAsInt();
            Check.that(
                    side >= LATENT_SCALE && side % LATENT_SCALE == 0,
                    "resolution",
                    "auto or a positive multiple of " + LATENT_SCALE,
                    side);
        }
        Check.unit("caption_dropout", captionDropout);
        Check.unit("max_bad_fraction", maxBadFraction);
        if (decodeThreads.isPresent()) {
            Check.atLeast(1, "decode_threads", decodeThreads.getAsInt());
        }
    }

    static DataRecipe read(Section in) throws RecipeException {
        return in.build(() -> new DataRecipe(
                in.paths("paths"),
                in.textOrNone(SPLIT),
                in.smallOrAuto("resolution", OptionalInt.empty()),
                in.choice("crop", Crop.class, Crop.CENTRE, Map.of("center", Crop.CENTRE)),
                in.flag("flip", true),
                in.flag("shared_augmentation", false),
                in.number("caption_dropout", 0.2),
                in.heldOut("held_out", new HeldOut.Count(0)),
                in.number("max_bad_fraction", 0.01),
                in.smallOrAuto("decode_threads", OptionalInt.empty())));
    }

    /// This data at a resolution, unless it has one.
    DataRecipe atResolution(int side) {
        return resolution.isPresent() ? this : with(paths, OptionalInt.of(side));
    }

    /// This data from other places.
    DataRecipe withPaths(List<Path> others) {
        return with(others, resolution);
    }

    private DataRecipe with(List<Path> newPaths, OptionalInt newResolution) {
        return new DataRecipe(
                newPaths,
                split,
                newResolution,
                crop,
                flip,
                sharedAugmentation,
                captionDropout,
                heldOut,
                maxBadFraction,
                decodeThreads);
    }

    /// Side of the training images in pixels.
    ///
    /// @throws java.util.NoSuchElementException when it is the model's own and the model is not known yet; see
    ///     [Recipe#completed]
    public int side() {
        return resolution.orElseThrow();
    }

    @Override
    public Object written() {
        Map<String, Object> fields = ResolvedText.components(this);
        if (split.isEmpty()) {
            fields.remove(SPLIT);
        }
        return fields;
    }
}

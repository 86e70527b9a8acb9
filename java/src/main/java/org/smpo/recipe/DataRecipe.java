package org.smpo.recipe;

import java.lang.reflect.RecordComponent;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import org.smpo.data.Crop;

/// Source of pairs, and augmentation of their images and captions. Trajectories generate their own
/// pairs and have a resolution alone.
///
/// @param paths Parquet files, folders, tar shards, or folders of them; relative to the working
///     directory; none where trajectories generate the pairs
/// @param split split of the folders among the paths, such as validation; absent: train, where there are
///     several. Written only when present, so that recipes from before this key keep their text.
/// @param resolution side of the training images in pixels, a multiple of 8; absent: the model's own
/// @param crop square that is cut from the resized image
/// @param flip whether an image is mirrored, with probability ½
/// @param sharedAugmentation whether both images of a pair get the same crop and the same flip
/// @param captionDropout probability of an empty caption, per pair
/// @param heldOut pairs that are used for evaluation and not for training
/// @param maxBadFraction share of bad records above which a run fails, 0 to 1
/// @param decodeThreads number of images decoded at once; absent: one per processor
/// @param images what a batch is made of. Written only where it is not pairs.
/// @param desirableShare probability that an image of a batch is a desirable one, between 0 and 1;
///     absent: as frequent as in the data. Written only when present.
/// @param mix further pairs with a share of their own; absent: none. Written only when present.
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
        OptionalInt decodeThreads,
        TrainingImages images,
        OptionalDouble desirableShare,
        Optional<MixRecipe> mix)
        implements Written {
    private static final int LATENT_SCALE = 8;
    private static final String SPLIT = "split";
    private static final String IMAGES = "images";
    private static final String DESIRABLE_SHARE = "desirable_share";
    private static final String RESOLUTION = "resolution";
    private static final String MIX = "mix";

    /// @throws IllegalArgumentException naming the key whose value is out of range
    public DataRecipe {
        paths = List.copyOf(paths);
        if (resolution.isPresent()) {
            int side = resolution.getAsInt();
            Check.that(
                    side >= LATENT_SCALE && side % LATENT_SCALE == 0,
                    RESOLUTION,
                    "auto or a positive multiple of " + LATENT_SCALE,
                    side);
        }
        Check.agreement(
                mix.isEmpty() || images != TrainingImages.SINGLE,
                MIX,
                "it has pairs, and data.images: single has none; add its images to data.paths");
        Check.agreement(
                mix.isEmpty() || desirableShare.isEmpty(),
                MIX,
                "data.desirable_share chooses images whatever their pairs; set one of the two to none");
        Check.unit("caption_dropout", captionDropout);
        Check.unit("max_bad_fraction", maxBadFraction);
        if (decodeThreads.isPresent()) {
            Check.atLeast(1, "decode_threads", decodeThreads.getAsInt());
        }
        if (desirableShare.isPresent()) {
            double share = desirableShare.getAsDouble();
            Check.that(share > 0 && share < 1, DESIRABLE_SHARE, "a number above 0 and below 1", share);
            Check.agreement(
                    images == TrainingImages.BOTH || images == TrainingImages.SINGLE,
                    DESIRABLE_SHARE,
                    "it chooses between desirable and undesirable images, which data.images: " + Section.word(images)
                            + " does not offer; set data.images to both or single, or this to none");
        }
    }

    /// Data of pairs.
    public DataRecipe(
            List<Path> paths,
            Optional<String> split,
            OptionalInt resolution,
            Crop crop,
            boolean flip,
            boolean sharedAugmentation,
            double captionDropout,
            HeldOut heldOut,
            double maxBadFraction,
            OptionalInt decodeThreads) {
        this(
                paths,
                split,
                resolution,
                crop,
                flip,
                sharedAugmentation,
                captionDropout,
                heldOut,
                maxBadFraction,
                decodeThreads,
                TrainingImages.PAIRS,
                OptionalDouble.empty(),
                Optional.empty());
    }

    static DataRecipe read(Section in) throws RecipeException {
        return in.build(() -> new DataRecipe(
                in.paths("paths"),
                in.textOrNone(SPLIT),
                in.smallOrAuto(RESOLUTION, OptionalInt.empty()),
                in.choice("crop", Crop.class, Crop.CENTRE, Map.of("center", Crop.CENTRE)),
                in.flag("flip", true),
                in.flag("shared_augmentation", false),
                in.number("caption_dropout", 0.2),
                HeldOut.read(in, "held_out", new HeldOut.Count(0)),
                in.number("max_bad_fraction", 0.01),
                in.smallOrAuto("decode_threads", OptionalInt.empty()),
                in.choice(IMAGES, TrainingImages.class, TrainingImages.PAIRS),
                in.numberOrNone(DESIRABLE_SHARE, OptionalDouble.empty()),
                MixRecipe.read(in, MIX)));
    }

    /// Reads the section of a recipe whose trajectories generate the pairs.
    ///
    /// @throws RecipeException when it has a key other than the resolution
    static DataRecipe ofTrajectories(Section in) throws RecipeException {
        return in.build(() -> {
            for (RecordComponent component : DataRecipe.class.getRecordComponents()) {
                String key = Section.snakeCase(component.getName());
                Optional<Node> found = in.find(key);
                if (!key.equals(RESOLUTION) && found.isPresent()) {
                    throw in.wrong(key, "no such key, since trajectories generate their own pairs", found.get());
                }
            }
            return new DataRecipe(
                    List.of(),
                    Optional.empty(),
                    in.smallOrAuto(RESOLUTION, OptionalInt.empty()),
                    Crop.CENTRE,
                    false,
                    true,
                    0,
                    new HeldOut.Count(0),
                    0,
                    OptionalInt.empty(),
                    TrainingImages.PAIRS,
                    OptionalDouble.empty(),
                    Optional.empty());
        });
    }

    /// This data at a resolution, unless it has one.
    DataRecipe atResolution(int side) {
        return resolution.isPresent() ? this : with(paths, OptionalInt.of(side), mix);
    }

    /// This data from other places.
    DataRecipe withPaths(List<Path> others, Optional<MixRecipe> otherMix) {
        return with(others, resolution, otherMix);
    }

    private DataRecipe with(List<Path> newPaths, OptionalInt newResolution, Optional<MixRecipe> newMix) {
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
                decodeThreads,
                images,
                desirableShare,
                newMix);
    }

    /// Checks that the images suit the objective and the labels.
    ///
    /// @throws IllegalArgumentException naming a key, and what to do
    void checkImages(ObjectiveRecipe objective, LabelRecipe labels) {
        if (images == TrainingImages.PAIRS) {
            return;
        }
        String name = objective.loss().name();
        Check.agreement(
                objective.loss().takesSingleImages(),
                "data.images",
                name + " compares the two images of a pair; set data.images to pairs, or choose a method of single "
                        + "images, kto or sft");
        boolean oneKind = images == TrainingImages.WINNER || images == TrainingImages.LOSER;
        Check.agreement(
                !oneKind || !objective.loss().judgesImages(),
                "data.images",
                name + " needs desirable and undesirable images; set data.images to both or single");
        Check.agreement(
                desirableShare.isEmpty() || objective.loss().judgesImages(),
                "data.desirable_share",
                name + " does not ask whether an image is desirable; set data.desirable_share to none");
        Check.agreement(
                objective.bcr().isEmpty() && objective.safeguard().isEmpty(),
                objective.bcr().isPresent() ? "objective.bcr" : "objective.safeguard",
                "it protects the winner of a pair, and data.images: " + Section.word(images)
                        + " trains on images without their pairs; set it to none");
        Check.agreement(
                images != TrainingImages.SINGLE || labels.equals(LabelRecipe.standard()),
                "labels",
                "they decide which image of a pair is better, and data.images: single has no pairs; remove the"
                        + " section");
    }

    /// Side of the training images in pixels.
    ///
    /// @throws java.util.NoSuchElementException when it is the model's own and the model is not known
    ///     yet; see [Recipe#completed]
    public int side() {
        return resolution.orElseThrow();
    }

    @Override
    public Object written() {
        if (paths.isEmpty()) {
            return Collections.singletonMap(RESOLUTION, resolution);
        }
        Map<String, Object> fields = ResolvedText.components(this);
        if (split.isEmpty()) {
            fields.remove(SPLIT);
        }
        if (images == TrainingImages.PAIRS) {
            fields.remove(IMAGES);
        }
        if (desirableShare.isEmpty()) {
            fields.remove(DESIRABLE_SHARE);
        }
        if (mix.isEmpty()) {
            fields.remove(MIX);
        }
        return fields;
    }
}

package org.smpo.reward;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.smpo.ffi.Device;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.io.HubCache;
import org.smpo.io.Precision;

/// A reward model as a user names it: `[NAME=][KIND:]PATH`. Nothing is loaded before [#open].
///
/// @param name name of the scores in tables: NAME, or KIND where only that is given; empty: neither is
///     given
/// @param kind KIND, or the kind that the files have
/// @param path file or folder of the model
/// @param processor folder with `preprocessor_config.json` and the tokenizer; often `path` itself
public record RewardSource(Optional<String> name, RewardKind kind, Path path, Path processor) {
    private static final String NAME = "[A-Za-z0-9_-]{1,40}";
    private static final String KIND = "[A-Za-z0-9_-]{2,}";

    /// Parses `[NAME=][KIND:]PATH`. A text that is the path of something that exists is taken as that path.
    /// `OWNER/NAME` is looked up in the Hugging Face cache where no such path exists.
    ///
    /// @throws IllegalArgumentException when nothing is at the path, the kind is unknown, or none is given
    ///     and the files do not show it
    /// @throws IOException when the files cannot be read
    public static RewardSource parse(String text) throws IOException {
        Optional<String> name = Optional.empty();
        String rest = text;
        int equals = text.indexOf('=');
        if (equals > 0
                && !Files.exists(Path.of(text))
                && text.substring(0, equals).matches(NAME)) {
            name = Optional.of(text.substring(0, equals));
            rest = text.substring(equals + 1);
        }
        int colon = rest.indexOf(':');
        if (colon > 0
                && !Files.exists(Path.of(rest))
                && rest.substring(0, colon).matches(KIND)) {
            String id = rest.substring(0, colon);
            RewardKind kind = RewardKind.of(id)
                    .orElseThrow(() -> new IllegalArgumentException(
                            "reward " + text + ": expected one of the kinds " + RewardKind.ids() + ", found " + id));
            return of(name.or(() -> Optional.of(id)), kind, existing(text, rest.substring(colon + 1)));
        }
        Path path = existing(text, rest);
        RewardKind kind = RewardKind.recognise(path)
                .orElseThrow(() -> new IllegalArgumentException("reward " + text
                        + ": expected files that show what kind of reward they are, found none that do; name the kind"
                        + " as KIND:PATH, one of " + RewardKind.ids()));
        return of(name, kind, path);
    }

    private static RewardSource of(Optional<String> name, RewardKind kind, Path path) {
        return new RewardSource(name, kind, path, path);
    }

    private static Path existing(String text, String path) throws IOException {
        Path found = HubCache.standard().find(Path.of(path), HubCache.Kind.MODEL);
        if (path.isEmpty() || !Files.exists(found)) {
            throw new IllegalArgumentException(
                    "reward " + text + ": expected a reward model's file or folder, found nothing");
        }
        return found;
    }

    /// Returns the same model with its image processor and tokenizer from another folder.
    public RewardSource withProcessor(Path folder) {
        return new RewardSource(name, kind, path, folder);
    }

    /// Returns the same model with its image processor and tokenizer from another folder where its own files
    /// do not have or name them.
    ///
    /// @param folder the other folder; empty: none
    public RewardSource withProcessor(Optional<Path> folder) {
        // A head names the processor of the model that it was fitted to.
        boolean own = kind == RewardKind.HEAD || Files.exists(path.resolve("preprocessor_config.json"));
        return own || folder.isEmpty() ? this : withProcessor(folder.get());
    }

    /// Returns the digest of the reward that [#open] returns.
    ///
    /// @see Reward#digest()
    public String digest() throws IOException {
        return files().digest();
    }

    /// Returns the preprocessing of the reward that [#open] returns.
    ///
    /// @see Reward#preprocessing()
    public String preprocessing(Precision precision) throws IOException {
        return files().preprocessing(precision);
    }

    /// Returns the CLIP model whose cosines are this reward's scores.
    ///
    /// @throws IllegalArgumentException when the reward is of another kind
    ClipScore.ClipFiles clip() throws IOException {
        if (kind.isClip() && files() instanceof ClipScore.ClipFiles clip) {
            return clip;
        }
        throw new IllegalArgumentException(
                "reward " + path + ": expected a CLIP model (clip, pickscore or hpsv2), whose"
                        + " embeddings a head can read, found a reward of kind " + kind.id());
    }

    private RewardFiles files() throws IOException {
        return kind.format().files(path, processor);
    }

    /// Loads the reward on an engine, which stays the caller's.
    ///
    /// @throws IOException when a file is missing, unreadable or not supported
    public Reward open(Engine engine, Precision precision) throws IOException {
        return files().open(engine, precision);
    }

    /// Loads the reward on an engine of its own, which closes with it.
    ///
    /// @param device `cpu`, `cuda` or `cuda:N`
    /// @param precision precision of the model
    /// @param threads number of CPU threads; 0: one per physical core
    /// @throws IOException when a file is missing, unreadable or not supported
    /// @throws IllegalArgumentException for an unknown device
    public Reward open(String device, Precision precision, int threads) throws IOException {
        Engine engine = Engine.open(
                EngineConfig.onCpu().withDevice(Device.parse(device)).withThreads(threads));
        try {
            return new OwnEngine(open(engine, precision), engine);
        } catch (IOException | RuntimeException e) {
            engine.close();
            throw e;
        }
    }
}

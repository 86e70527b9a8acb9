package org.smpo.iterate;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.function.Consumer;
import org.smpo.io.AtomicFiles;
import org.smpo.io.FolderLock;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.recipe.IterateRecipe;
import org.smpo.recipe.ResolvedValues;
import org.smpo.train.FinishedRun;

/// The folder of an iteration, open in one process at a time.
///
/// ```text
/// rounds.yaml       the resolved recipe
/// manifest.json     digests of the prompts and of the pairs that a reward is trained on
/// round-NN/         a round; see [RoundFolder]
/// evaluation-NN/    the comparison of all models after NN rounds
/// report.html       the rounds side by side
/// ```
final class IterationFolder implements AutoCloseable {
    private final IterationPlan plan;
    private final Path root;
    private final FolderLock lock;

    private IterationFolder(IterationPlan plan, FolderLock lock) {
        this.plan = plan;
        this.root = plan.output();
        this.lock = lock;
    }

    /// Opens and locks the folder, and records the recipe.
    ///
    /// @param resume whether to resume the rounds in the folder; if false, the folder must have none
    /// @throws IOException when another process works there, when there are rounds although new ones
    ///     are to begin, or when there are none to resume or they have another recipe
    static IterationFolder open(IterationPlan plan, boolean resume, Consumer<String> warnings) throws IOException {
        IterationFolder folder = new IterationFolder(plan, FolderLock.acquire(plan.output(), "rounds", warnings));
        try {
            folder.recover();
            folder.begin(resume);
            return folder;
        } catch (IOException | RuntimeException e) {
            try (folder) {
                throw e;
            }
        }
    }

    /// Removes what a killed process left unfinished.
    private void recover() throws IOException {
        AtomicFiles.recover(root);
        for (int number = 1; number <= plan.recipe().rounds().count(); number++) {
            RoundFolder round = plan.round(number);
            for (Path place : List.of(round.root(), round.pairs())) {
                if (Files.isDirectory(place)) {
                    AtomicFiles.recover(place);
                }
            }
        }
    }

    private void begin(boolean resume) throws IOException {
        Path file = root.resolve("rounds.yaml");
        Path manifest = root.resolve("manifest.json");
        List<IterationPlan.Input> inputs = plan.inputs();
        if (!resume) {
            if (Files.exists(file) || Files.exists(plan.round(1).root())) {
                throw new IOException(
                        root + ": has rounds already; continue them with --resume, or choose another output");
            }
            if (FinishedRun.isRun(root)) {
                throw new IOException(
                        root + ": expected a folder for rounds, found a training run; choose another output");
            }
            Map<String, String> digests = new LinkedHashMap<>();
            inputs.forEach(input -> digests.put(input.key(), input.digest()));
            Json.write(manifest, digests);
            // Written last, because a folder with this file counts as rounds.
            AtomicFiles.write(file, plan.recipe().resolved());
            return;
        }
        if (Files.notExists(file)) {
            throw new IOException(root + ": no rounds to resume: it has no rounds.yaml");
        }
        IterateRecipe before = IterateRecipe.read(file, List.of());
        requireSame(file, before);
        JsonObject begun = Json.readObject(manifest);
        for (IterationPlan.Input input : inputs) {
            if (!begun.string(input.key()).equals(input.digest())) {
                throw new IOException(input.place() + ": expected the " + input.what()
                        + " that the rounds were begun with, found others; restore them, or begin again in another"
                        + " output");
            }
        }
        if (!before.equals(plan.recipe())) {
            AtomicFiles.write(file, plan.recipe().resolved());
        }
    }

    /// Requires the recipe that the rounds were begun with. Only their number may grow, and the folder
    /// may have been renamed.
    private void requireSame(Path file, IterateRecipe before) throws IOException {
        Map<String, String> old = ResolvedValues.of(before.resolved());
        Map<String, String> now = ResolvedValues.of(plan.recipe().resolved());
        TreeSet<String> keys = new TreeSet<>(old.keySet());
        keys.addAll(now.keySet());
        for (String key : keys) {
            boolean may = key.equals("output")
                    || (key.equals("rounds.count")
                            && plan.recipe().rounds().count() >= before.rounds().count());
            if (!may && !old.getOrDefault(key, "absent").equals(now.getOrDefault(key, "absent"))) {
                throw new IOException(file + ": the rounds were begun with another recipe: " + key + ": "
                        + old.getOrDefault(key, "absent") + " then, " + key + ": " + now.getOrDefault(key, "absent")
                        + " now; resume them with the old value, or begin again in another output");
            }
        }
    }

    Path report() {
        return root.resolve("report.html");
    }

    /// Releases the lock.
    @Override
    public void close() throws IOException {
        lock.close();
    }
}

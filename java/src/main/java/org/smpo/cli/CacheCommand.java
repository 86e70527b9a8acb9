package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.smpo.cache.Cache;
import org.smpo.parallel.Peers;
import org.smpo.recipe.Recipe;
import org.smpo.recipe.RecipeException;
import org.smpo.report.Progress;
import org.smpo.train.CacheFill;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `smpo cache`: fills, shows, checks and prunes the cache of latents and text embeddings.
@Command(
        name = "cache",
        description = "Fill, show, check or prune the cache of latents and text embeddings.",
        mixinStandardHelpOptions = true,
        subcommands = {
            CacheCommand.Fill.class,
            CacheCommand.Ls.class,
            CacheCommand.Verify.class,
            CacheCommand.Prune.class
        },
        commandListHeading = "%nCommands:%n")
final class CacheCommand implements Runnable {
    @Spec
    private CommandSpec spec;

    CacheCommand() {}

    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(), "Missing command: fill, ls, verify or prune");
    }

    /// The option that locates the cache.
    static final class Folder {
        @Option(names = "--dir", paramLabel = "DIR", description = OptionTexts.CACHE)
        private Path folder;

        Cache open(PrintWriter err) {
            return Cache.open(folder(), warning -> {
                err.println("smpo: " + warning);
                err.flush();
            });
        }

        Path folder() {
            return folder == null ? Cache.defaultFolder() : folder;
        }
    }

    /// `smpo cache fill`.
    @Command(
            name = "fill",
            description = "Encode the images and captions of a training recipe, so that training only reads them: those"
                    + " of its first epoch, with its crops and flips, and the held-out ones.",
            mixinStandardHelpOptions = true,
            exitCodeListHeading = "%nExit codes:%n",
            exitCodeList = {"0:everything that can be read is cached", "1:failure", "2:wrong usage or recipe"})
    static final class Fill implements Callable<Integer> {
        @Spec
        private CommandSpec spec;

        @Parameters(
                index = "0",
                paramLabel = "RECIPE",
                description = "YAML file, or the name of a built-in recipe, as for smpo train")
        private Path recipe;

        @Option(names = "--set", paramLabel = "KEY=VALUE", description = OptionTexts.SET)
        private List<String> overrides = List.of();

        @Mixin
        private Folder folder;

        @Mixin
        private WorldOptions processes;

        Fill() {}

        @Override
        public Integer call() throws IOException, InterruptedException {
            Recipe resolved;
            try {
                resolved = Recipe.read(recipe, overrides);
            } catch (RecipeException e) {
                throw new ParameterException(spec.commandLine(), e.getMessage(), e);
            }
            PrintWriter err = spec.commandLine().getErr();
            Progress.Display display = Progress.Display.ofStandardError(err);
            CacheFill.Counts counts;
            try (InterruptNotice _ = new InterruptNotice(spec, "run the same command again to encode the rest");
                    Peers peers = processes.open();
                    TrainingWatcher watcher = new TrainingWatcher(err, peers.world());
                    Progress progress = new Progress(display, "cache", "step", 0, 0)) {
                boolean first = peers.world().isFirst();
                counts = CacheFill.run(resolved, folder.folder(), peers, watcher, (done, of) -> {
                    if (first) {
                        progress.total(of);
                        progress.to(done);
                    }
                });
            } catch (IllegalArgumentException e) {
                throw new ParameterException(spec.commandLine(), e.getMessage(), e);
            }
            if (processes.world().isFirst()) {
                PrintWriter out = spec.commandLine().getOut();
                out.println("cached: " + counts.pairs() + ", cannot be read: " + counts.bad());
                out.flush();
            }
            return 0;
        }
    }

    /// `smpo cache ls`.
    @Command(
            name = "ls",
            description = "Show the number and size of cached entries by kind.",
            mixinStandardHelpOptions = true)
    static final class Ls implements Callable<Integer> {
        @Spec
        private CommandSpec spec;

        @Mixin
        private Folder folder;

        @Option(names = "--entries", description = "List every entry: kind, bytes, last use, file")
        private boolean entries;

        Ls() {}

        @Override
        public Integer call() throws IOException {
            PrintWriter out = spec.commandLine().getOut();
            Cache cache = folder.open(spec.commandLine().getErr());
            List<Cache.Entry> all = cache.entries();
            if (entries) {
                all.forEach(entry -> out.printf(
                        Locale.ROOT,
                        "%-16s %12d  %s  %s%n",
                        entry.kind(),
                        entry.bytes(),
                        entry.lastUse(),
                        entry.file()));
            }
            cache.totals().forEach((kind, total) -> out.printf(Locale.ROOT, "%-16s %s%n", kind, shown(total)));
            out.printf(Locale.ROOT, "%-16s %s in %s%n", "all", shown(sum(all)), folder.folder());
            out.flush();
            return 0;
        }
    }

    /// `smpo cache verify`.
    @Command(
            name = "verify",
            description = "Read every entry and compare it with its digest.",
            mixinStandardHelpOptions = true,
            exitCodeListHeading = "%nExit codes:%n",
            exitCodeList = {"0:every entry is intact", "1:damaged entries, or failure", "2:wrong usage"})
    static final class Verify implements Callable<Integer> {
        @Spec
        private CommandSpec spec;

        @Mixin
        private Folder folder;

        @Option(names = "--remove", description = "Delete damaged entries now, instead of when they are next used")
        private boolean remove;

        Verify() {}

        @Override
        public Integer call() throws IOException {
            PrintWriter out = spec.commandLine().getOut();
            Cache.Verification found = folder.open(spec.commandLine().getErr()).verify(remove);
            found.damaged().forEach(damage -> out.println("damaged: " + damage.file() + ": " + damage.reason()));
            out.println("sound: " + shown(found.sound()));
            out.println("damaged: " + found.damaged().size() + (remove ? ", deleted" : ""));
            out.flush();
            return found.damaged().isEmpty() ? 0 : 1;
        }
    }

    /// `smpo cache prune`.
    @Command(
            name = "prune",
            description = "Delete entries, the least recently used first.",
            mixinStandardHelpOptions = true)
    static final class Prune implements Callable<Integer> {
        private static final Pattern AMOUNT = Pattern.compile("(\\d{1,12})([A-Za-z]*)");
        private static final Map<String, Duration> TIMES = Map.of(
                "s", Duration.ofSeconds(1),
                "m", Duration.ofMinutes(1),
                "h", Duration.ofHours(1),
                "d", Duration.ofDays(1),
                "w", Duration.ofDays(7));
        private static final Map<String, Long> SIZES = Map.ofEntries(
                Map.entry("", 1L),
                Map.entry("b", 1L),
                Map.entry("kb", 1_000L),
                Map.entry("mb", 1_000_000L),
                Map.entry("gb", 1_000_000_000L),
                Map.entry("tb", 1_000_000_000_000L),
                Map.entry("kib", 1L << 10),
                Map.entry("mib", 1L << 20),
                Map.entry("gib", 1L << 30),
                Map.entry("tib", 1L << 40));

        @Spec
        private CommandSpec spec;

        @Mixin
        private Folder folder;

        @Option(
                names = "--older-than",
                paramLabel = "AGE",
                description =
                        "Age since last use above which entries are deleted: a number with s, m, h, d or w, such as"
                                + " 30d")
        private String olderThan;

        @Option(
                names = "--max-bytes",
                paramLabel = "SIZE",
                description = "Size to prune the cache down to: 500000000, 500MB or 20GiB")
        private String maxBytes;

        @Option(
                names = "--kind",
                paramLabel = "KIND",
                description =
                        "Kind of entry to delete, as cache ls names it; repeatable. Without a limit, every entry of"
                                + " that kind is deleted")
        private List<String> kinds = List.of();

        Prune() {}

        @Override
        public Integer call() throws IOException {
            if (olderThan == null && maxBytes == null && kinds.isEmpty()) {
                throw usage("expected --older-than, --max-bytes or --kind");
            }
            Cache.PruneLimits limits = new Cache.PruneLimits(
                    Set.copyOf(kinds), olderThan == null ? null : age(), maxBytes == null ? -1 : size());
            Cache.Pruning done = folder.open(spec.commandLine().getErr()).prune(limits, Instant.now());
            PrintWriter out = spec.commandLine().getOut();
            out.println("deleted: " + shown(done.removed()));
            out.println("left: " + shown(done.left()));
            out.flush();
            return 0;
        }

        private Duration age() {
            Matcher matcher = AMOUNT.matcher(olderThan);
            Duration unit = matcher.matches() ? TIMES.get(matcher.group(2)) : null;
            if (unit == null) {
                throw usage("--older-than: expected a number with s, m, h, d or w, got " + olderThan);
            }
            try {
                return unit.multipliedBy(Long.parseLong(matcher.group(1)));
            } catch (ArithmeticException e) {
                throw usage("--older-than: expected less than 10^11 years, got " + olderThan);
            }
        }

        private long size() {
            Matcher matcher = AMOUNT.matcher(maxBytes);
            Long unit = matcher.matches() ? SIZES.get(matcher.group(2).toLowerCase(Locale.ROOT)) : null;
            if (unit == null) {
                throw usage(
                        "--max-bytes: expected a number, alone or with kB, MB, GB, KiB, MiB or GiB, got " + maxBytes);
            }
            try {
                return Math.multiplyExact(Long.parseLong(matcher.group(1)), unit);
            } catch (ArithmeticException e) {
                throw usage("--max-bytes: expected less than 2^63 bytes, got " + maxBytes);
            }
        }

        private ParameterException usage(String message) {
            return new ParameterException(spec.commandLine(), message);
        }
    }

    private static Cache.Total sum(List<Cache.Entry> entries) {
        return new Cache.Total(
                entries.size(), entries.stream().mapToLong(Cache.Entry::bytes).sum());
    }

    private static String shown(Cache.Total total) {
        String count = total.count() == 1 ? "1 entry" : total.count() + " entries";
        return String.format(Locale.ROOT, "%s, %d bytes (%.1f MB)", count, total.bytes(), total.bytes() / 1e6);
    }
}

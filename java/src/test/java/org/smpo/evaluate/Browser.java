package org.smpo.evaluate;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// A headless Chromium that opens a page in a frame of a given width and reports what it finds.
///
/// The page is in a frame because browser windows have a minimum width.
final class Browser {
    private static final long SECONDS = 120;

    private final Path program;
    private final Path scratch;

    private Browser(Path program, Path scratch) {
        this.program = program;
        this.scratch = scratch;
    }

    /// Observations of a page.
    ///
    /// @param console errors and warnings that the browser logs
    /// @param charts number of canvases
    /// @param drawn canvases that are not blank
    /// @param overflow number of pixels by which the page is wider than its frame
    /// @param fetched number of addresses that the page requested
    record Look(List<String> console, int charts, int drawn, int overflow, int fetched) {}

    static Optional<Browser> find(Path scratch) {
        return Arrays.stream(System.getenv("PATH").split(File.pathSeparator))
                .flatMap(folder -> List.of("chromium", "chromium-browser", "google-chrome").stream()
                        .map(name -> Path.of(folder, name)))
                .filter(Files::isExecutable)
                .findFirst()
                .map(found -> new Browser(found, scratch));
    }

    Look look(Path page, int width) throws IOException, InterruptedException {
        Path frame = scratch.resolve("frame.html");
        Files.writeString(frame, """
            <!doctype html><meta charset="utf-8"><style>html, body { margin: 0 } iframe { border: 0 }</style>
            <body><iframe src="%s" style="width:%dpx;height:2000px"></iframe>
            <script>
            addEventListener("load", () => {
              const page = document.querySelector("iframe").contentDocument;
              const canvases = [...page.querySelectorAll("canvas")];
              const drawn = canvases.filter((canvas) => canvas.width > 0 && canvas.height > 0 && canvas.getContext("2d")
                .getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value !== 0));
              const frame = document.querySelector("iframe").contentWindow;
              const found = [canvases.length, drawn.length, page.documentElement.scrollWidth - %d,
                frame.performance.getEntriesByType("resource").filter((e) => !e.name.startsWith("data:")).length];
              document.body.setAttribute("data-found", found.join(" "));
            });
            </script>
            """.formatted(page.toUri(), width, width));
        Path out = scratch.resolve("dom.html");
        Path err = scratch.resolve("console.txt");
        Process process = new ProcessBuilder(
                        program.toString(),
                        "--headless",
                        "--no-sandbox",
                        "--disable-gpu",
                        "--no-first-run",
                        "--user-data-dir=" + scratch.resolve("profile"),
                        "--allow-file-access-from-files",
                        "--window-size=1400,2000",
                        "--virtual-time-budget=5000",
                        "--enable-logging=stderr",
                        "--dump-dom",
                        frame.toUri().toString())
                .redirectOutput(out.toFile())
                .redirectError(err.toFile())
                .start();
        if (!process.waitFor(SECONDS, TimeUnit.SECONDS)) {
            process.destroyForcibly();
            throw new IOException("the browser did not end within " + SECONDS + " s");
        }
        String log = Files.readString(err, StandardCharsets.UTF_8);
        Matcher found = Pattern.compile("data-found=\"(-?\\d+) (-?\\d+) (-?\\d+) (-?\\d+)\"")
                .matcher(Files.readString(out, StandardCharsets.UTF_8));
        if (!found.find()) {
            throw new IOException("the page was not loaded: " + log);
        }
        return new Look(
                log.lines().filter(line -> line.contains("CONSOLE")).toList(),
                Integer.parseInt(found.group(1)),
                Integer.parseInt(found.group(2)),
                Integer.parseInt(found.group(3)),
                Integer.parseInt(found.group(4)));
    }
}

package org.smpo.demo;

import java.nio.file.Path;
import java.util.Locale;

/// The recipes of the demo's runs. They are kept as text files that users can edit and run.
public enum DemoRecipe {
    /// SmPO with inversion that ends exactly at the sampled timestep.
    SMPO("smpo", "SmPO-Diffusion (arXiv 2506.02698).", Pairs.DRAWN, smpo("exact"), "7e-5", 50),
    /// Diffusion-DPO on the same pairs. Its steps are cheaper, so it takes more of them.
    DPO("dpo", "Diffusion-DPO (arXiv 2311.12908), for comparison.", Pairs.DRAWN, """
        objective:
          method: dpo
          beta: 2000
          kappa: 0.5
          safeguard: {mu: 0}         # no step raises the winner's error
        inversion: none
        """, "3e-5", 100),
    /// One round of SmPO on the model's own images.
    SMPO_OWN(
            "smpo-own",
            "SmPO-Diffusion on the model's own images, best against worst by the reward, for comparison.",
            Pairs.OWN,
            compared("exact"),
            "7e-5",
            30),
    /// SmPO with the inversion of the published code under the diffusers release that it pins.
    SMPO_V020(
            "smpo-v020",
            "SmPO-Diffusion with the inversion of the published code under diffusers 0.20, for comparison.",
            Pairs.DRAWN,
            compared("v020"),
            "7e-5",
            50),
    /// SmPO with the inversion of the published code under later diffusers releases.
    SMPO_V022(
            "smpo-v022",
            "SmPO-Diffusion with the inversion of the published code under diffusers 0.22 and later, for comparison.",
            Pairs.DRAWN,
            compared("v022"),
            "7e-5",
            50);

    /// Name of the folder of the painted pairs within the demo folder.
    public static final String DRAWN = "data";

    /// Pairs that a run trains on.
    private enum Pairs {
        DRAWN,
        OWN
    }

    private final String name;
    private final String title;
    private final Pairs pairs;
    private final String method;
    private final String rate;
    private final int steps;

    DemoRecipe(String name, String title, Pairs pairs, String method, String rate, int steps) {
        this.name = name;
        this.title = title;
        this.pairs = pairs;
        this.method = method;
        this.rate = rate;
        this.steps = steps;
    }

    private static String smpo(String semantics) {
        return """
            objective:
              method: smpo
              beta: 2000
              gamma: 10
              kappa: 0.5
              safeguard: {mu: 0}         # no step raises the winner's error
            inversion:
              semantics: %s
              steps: 2
              renoise: every_step
              network: policy
            """.formatted(semantics);
    }

    /// Returns the same recipe without the checks for divergence, since a comparison may show that a run
    /// diverges.
    private static String compared(String semantics) {
        return smpo(semantics) + """
            health:
              runaway_loss: none
              runaway_error: none
            """;
    }

    /// Returns the name of the run's folder and of its recipe file.
    public String runName() {
        return name;
    }

    /// Returns whether the run is a round on the model's own images.
    public boolean ofOwnImages() {
        return pairs == Pairs.OWN;
    }

    /// Returns the recipe, without [#rounds].
    ///
    /// @param folder folder of the demo, with `model`, the pairs and `scores.parquet`, as the recipe names
    ///     it
    /// @param seed seed of the run
    /// @param divisor divisor of the number of steps; 1: the full run
    public String text(Path folder, long seed, int divisor) {
        int chosen = Math.max(1, steps / divisor);
        return """
            # %s Written by smpo demo; run it with: smpo %s FILE
            model: %s
            output: %s
            seed: %d
            data:
            %s  resolution: 64
              flip: false                # a flip would make "left of" wrong
              caption_dropout: 0
              held_out: 0.02
            labels:
              winner: human              # the label in the data
              scores: %s
              range: data
            timesteps:
              distribution: uniform
              low: 0
              end: 1000
            train:
              steps: %d
              pairs_per_step: 64
              precision: fp32
              device: cpu
              weights: full
              max_grad_norm: 1
            optimizer:
              name: adamw
              weight_decay: 1e-2
            learning_rate:
              value: %s
              schedule: cosine
              warmup_steps: %d
            checkpoint:
              every: 20
              keep: 2
            evaluate:
              every: 20
            export:
              formats: [diffusers]
            """.formatted(
                                title,
                                ofOwnImages() ? "iterate" : "train",
                                quoted(folder.resolve("model")),
                                quoted(folder.resolve(name)),
                                seed,
                                ofOwnImages() ? "" : "  paths: [" + quoted(folder.resolve(DRAWN)) + "]\n",
                                ofOwnImages()
                                        ? "none # the pairs have scores of their own"
                                        : quoted(folder.resolve("scores.parquet")),
                                chosen,
                                rate,
                                Math.min(10, chosen))
                + method;
    }

    /// Returns the section of the recipe that makes pairs of the model's own images: best against worst by the
    /// reward.
    ///
    /// @param folder folder of the demo, with `reward` and the prompts
    /// @param images number of images per prompt
    /// @param generation how they are generated
    static String rounds(Path folder, int images, String generation) {
        return """
            rounds:
              prompts: %s
              images: %d
              generation: %s
              rewards: [%s]
            """.formatted(
                        quoted(folder.resolve(DemoFiles.OWN_PROMPTS)),
                        images,
                        generation,
                        quoted("reward=" + folder.resolve("reward")));
    }

    private static String quoted(Object text) {
        return "'" + text.toString().replace("'", "''") + "'";
    }

    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }
}

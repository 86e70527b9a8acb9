package org.smpo.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.smpo.io.Closer;
import org.smpo.io.TensorFile;

/// The VAE of a model in a single file, when it comes from elsewhere: from a folder of diffusers, or
/// from a file that holds a VAE alone, under CompVis' or diffusers' names.
final class SingleFileVae {
    private static final String COMPONENT = "vae";

    private SingleFileVae() {}

    /// Opens a VAE.
    ///
    /// @param path folder of a model or of a VAE, or a file
    /// @param config config for a file
    /// @param opened owner of the files
    static Component open(Path path, ComponentConfig config, Leftovers leftovers, Closer opened) throws IOException {
        if (Files.isDirectory(path)) {
            boolean whole = Files.exists(path.resolve("model_index.json"));
            ModelFiles files = opened.add(ModelFolder.open(whole ? path.resolve(COMPONENT) : path));
            Component found = files.only();
            if (!(found.config() instanceof VaeConfig)) {
                throw new ModelException(path, "class", "AutoencoderKL", found.className());
            }
            return new Component(
                    COMPONENT, found.library(), found.className(), found.config(), found.weights(), found.files());
        }
        SingleFile.requireFile(path);
        TensorFile file = opened.add(TensorFile.open(path));
        Map<String, Weight> rest = new LinkedHashMap<>();
        for (Weight weight : Weight.all(file)) {
            boolean buffer = SingleFile.isBuffer(weight.name()) || weight.name().startsWith("loss.");
            if (buffer) {
                leftovers.ignore(weight.name());
            } else {
                rest.put(weight.name(), weight);
            }
        }
        boolean whole = rest.keySet().stream().anyMatch(name -> name.startsWith(SingleFileLayout.VAE));
        String prefix = whole ? SingleFileLayout.VAE : "";
        rest.keySet().removeIf(name -> !name.startsWith(prefix));
        List<Weight> weights = new ArrayList<>();
        if (rest.keySet().stream().anyMatch(name -> name.contains("encoder.down_blocks."))) {
            rest.values()
                    .forEach(weight -> weights.add(ModelFolder.legacyShape(
                            config.config(), weight.named(ModelFolder.canonicalName(config.config(), weight.name())))));
        } else {
            weights.addAll(SingleFile.takeVae((VaeConfig) config.config(), prefix, rest));
            weights.addAll(rest.values());
        }
        Component.Fitted fitted = Component.fit(COMPONENT, config, weights, List.of(path), path, "");
        leftovers.extra(
                COMPONENT, fitted.extra().stream().map(Component::storedName).toList());
        return fitted.component();
    }
}

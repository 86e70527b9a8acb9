package org.smpo.generate;

import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.smpo.checkpoint.Lora;
import org.smpo.checkpoint.ModelException;
import org.smpo.ffi.LoraSpec;
import org.smpo.ffi.NativeModel;
import org.smpo.ffi.ParameterInfo;
import org.smpo.network.NativeWeights;

/// Merges adapters into the weights of loaded networks.
final class LoraMerge {
    private LoraMerge() {}

    /// The loaded networks by component.
    @FunctionalInterface
    interface Networks {
        /// Returns the network of a component.
        ///
        /// @throws ModelException when there is no such component
        NativeModel of(String component) throws ModelException;
    }

    /// Merges adapters permanently.
    ///
    /// @param weight Factor of the adapters
    /// @throws ModelException when a module is not in its network or does not fit
    static void merge(Lora lora, double weight, Networks networks) throws IOException {
        Map<String, Map<List<Double>, List<Lora.Module>>> byComponent = new TreeMap<>();
        for (Lora.Module module : lora.modules().values()) {
            // The library multiplies by alpha / rank.
            List<Double> kind = List.of((double) module.rank(), module.scale() * module.rank());
            byComponent
                    .computeIfAbsent(module.component(), name -> new LinkedHashMap<>())
                    .computeIfAbsent(kind, rank -> new ArrayList<>())
                    .add(module);
        }
        for (Map.Entry<String, Map<List<Double>, List<Lora.Module>>> component : byComponent.entrySet()) {
            NativeModel network = networks.of(component.getKey());
            for (Map.Entry<List<Double>, List<Lora.Module>> group :
                    component.getValue().entrySet()) {
                merge(network, group.getKey().get(0).intValue(), group.getKey().get(1), group.getValue(), weight);
            }
        }
    }

    private static void merge(NativeModel network, int rank, double alpha, List<Lora.Module> modules, double weight)
            throws IOException {
        requireLayers(network, modules);
        network.addLora(new LoraSpec(
                rank, alpha, modules.stream().map(Lora.Module::path).toList()));
        Map<String, List<Long>> shapes = new HashMap<>();
        network.parameters().forEach(parameter -> shapes.put(parameter.name(), parameter.shape()));
        for (Lora.Module stored : modules) {
            Lora.Module module = stored.reshaped(
                    shapes.get(stored.path() + ".lora_A.weight"), shapes.get(stored.path() + ".lora_B.weight"));
            NativeWeights.write(network, module.down().named(module.path() + ".lora_A.weight"));
            NativeWeights.write(network, module.up().named(module.path() + ".lora_B.weight"));
        }
        network.mergeLora(weight);
    }

    private static void requireLayers(NativeModel network, List<Lora.Module> modules) throws ModelException {
        Set<String> layers =
                network.parameters().stream().map(ParameterInfo::name).collect(Collectors.toSet());
        for (Lora.Module module : modules) {
            if (!layers.contains(module.path() + ".weight")) {
                throw new ModelException(
                        module.down().origin(),
                        module.component(),
                        "a layer of the model",
                        module.path() + ", which it does not have; is it for another base model?");
            }
        }
    }
}

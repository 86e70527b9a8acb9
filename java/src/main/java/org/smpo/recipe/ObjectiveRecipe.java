package org.smpo.recipe;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.smpo.objective.BcrBudget;
import org.smpo.objective.Capo;
import org.smpo.objective.Dmpo;
import org.smpo.objective.Dpo;
import org.smpo.objective.Inpo;
import org.smpo.objective.Ipo;
import org.smpo.objective.Kto;
import org.smpo.objective.Mapo;
import org.smpo.objective.Npo;
import org.smpo.objective.Objective;
import org.smpo.objective.PairLossSpec;
import org.smpo.objective.SdpoSafeguard;
import org.smpo.objective.Sft;
import org.smpo.objective.Smpo;

/// The loss of a pair. In YAML the parameters of the method stand beside `method`, `bcr` and `safeguard`.
/// `beta` has no default: it is in mean-error units (see [Objective]), and the same number is another
/// strength elsewhere.
///
/// @param loss the method and its parameters
/// @param bcr a budget for the winner
/// @param safeguard a bound on the loser's gradient
public record ObjectiveRecipe(Objective loss, Optional<BcrBudget> bcr, Optional<SdpoSafeguard> safeguard)
        implements Written {
    static final String KIND = "method";

    private static final List<String> METHODS =
            List.of("smpo", "dpo", "inpo", "dmpo", "ipo", "sft", "npo", "kto", "mapo", "capo");

    /// @throws IllegalArgumentException when an addition does not go with the method
    public ObjectiveRecipe {
        Check.agreement(
                bcr.isEmpty() || loss.needsReference(),
                "bcr",
                "it holds the winner against the reference, and " + loss.name()
                        + " has none; set objective.bcr to none");
        Check.agreement(
                safeguard.isEmpty() || !(loss instanceof Sft),
                "safeguard",
                "it scales the loser's gradient, and sft has none; set objective.safeguard to none");
    }

    static ObjectiveRecipe read(Section in) throws RecipeException {
        return in.build(() -> {
            Objective loss = loss(in);
            Optional<Section> bcr = in.sectionOrNone("bcr");
            Optional<Section> safeguard = in.sectionOrNone("safeguard");
            return new ObjectiveRecipe(
                    loss,
                    bcr.isEmpty() ? Optional.empty() : Optional.of(budget(bcr.get())),
                    safeguard.isEmpty() ? Optional.empty() : Optional.of(safeguard(safeguard.get())));
        });
    }

    private static Objective loss(Section in) throws RecipeException {
        return switch (in.kind(KIND, METHODS, Optional.empty())) {
            case "smpo" -> new Smpo(in.number("beta"), in.number("gamma", 10), in.number("kappa", 0.5));
            case "dpo" -> new Dpo(in.number("beta"), in.number("kappa", 0.5));
            case "inpo" -> new Inpo(in.number("beta"), in.number("kappa", 0.5), in.number("eta", 0.1));
            case "dmpo" -> new Dmpo(in.number("beta"), in.number("kappa", 0.5), in.number("alpha", 0.01));
            case "ipo" -> new Ipo(in.number("beta"), in.number("kappa", 0.5), in.number("margin", 0.5));
            case "npo" -> new Npo(in.number("beta"), in.number("kappa", 0.5));
            case "kto" ->
                new Kto(in.number("beta"), in.number("desirable_weight", 1), in.number("undesirable_weight", 1));
            case "mapo" -> new Mapo(in.number("scale", 0.5), in.number("temperature", 1000), in.number("weight", 0.1));
            case "capo" -> new Capo(in.number("beta"), in.number("bias"));
            default -> new Sft();
        };
    }

    private static BcrBudget budget(Section in) throws RecipeException {
        return in.build(() -> new BcrBudget(in.number("lambda"), in.number("delta")));
    }

    private static SdpoSafeguard safeguard(Section in) throws RecipeException {
        return in.build(() -> new SdpoSafeguard(in.number("mu")));
    }

    /// What the native kernel is told.
    public PairLossSpec spec() {
        PairLossSpec spec = loss.spec();
        if (bcr.isPresent()) {
            spec = spec.with(bcr.get());
        }
        return safeguard.isPresent() ? spec.with(safeguard.get()) : spec;
    }

    @Override
    public Object written() {
        Map<String, Object> fields = ResolvedText.kind(KIND, loss.name(), (Record) loss);
        fields.put("bcr", bcr);
        fields.put("safeguard", safeguard);
        return fields;
    }
}

package org.smpo.recipe;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import org.smpo.objective.BcrBudget;
import org.smpo.objective.Dora;
import org.smpo.objective.Method;
import org.smpo.objective.NoiseSource;
import org.smpo.objective.Objective;
import org.smpo.objective.PairImage;
import org.smpo.objective.PairInput;
import org.smpo.objective.PairLoss;
import org.smpo.objective.SdpoSafeguard;

/// The loss of a pair, and how the losses of a batch become one. In YAML the parameters of the method
/// stand beside `method`, `bcr`, `safeguard` and `dora`. `dora` is written only where it is given, so
/// that recipes from before it keep their text.
///
/// `beta` has no default: it is in units of the mean error (see [Objective]), and the same number is
/// another strength elsewhere.
///
/// @param loss the method and its parameters
/// @param bcr a budget for the favoured image
/// @param safeguard a bound on the other image's gradient
/// @param dora weights of the pairs of a batch by their losses and density ratios
/// @param rollout rollouts of a teacher; present exactly when the method trains on them
public record ObjectiveRecipe(
        Objective loss,
        Optional<BcrBudget> bcr,
        Optional<SdpoSafeguard> safeguard,
        Optional<Dora> dora,
        Optional<RolloutRecipe> rollout)
        implements Written {
    static final String KIND = "method";
    private static final String DORA = "dora";

    /// @throws IllegalArgumentException when an addition does not go with the method
    public ObjectiveRecipe {
        Check.agreement(
                bcr.isEmpty() || loss.needsReference(),
                "bcr",
                "it holds the favoured image against the reference, and " + loss.name()
                        + " has none; set objective.bcr to none");
        Check.agreement(
                safeguard.isEmpty() || loss.favours() == PairImage.WINNER,
                "safeguard",
                "it guards the data's winner, which " + loss.name()
                        + " pushes away; use method dpo with labels.reversed");
        Check.agreement(
                safeguard.isEmpty() || loss.hasLogit(),
                "safeguard",
                "it scales the loser's gradient, and " + loss.name() + " has none; set objective.safeguard to none");
        Check.agreement(
                dora.isEmpty() || !loss.inputs().contains(PairInput.MEAN_GAIN),
                DORA,
                "it weighs the losses of pairs, and the loss of " + loss.name()
                        + " is not a sum over pairs; set objective.dora to none");
    }

    /// An objective without a teacher.
    public ObjectiveRecipe(
            Objective loss, Optional<BcrBudget> bcr, Optional<SdpoSafeguard> safeguard, Optional<Dora> dora) {
        this(loss, bcr, safeguard, dora, Optional.empty());
    }

    static ObjectiveRecipe read(Section in) throws RecipeException {
        return in.build(() -> {
            Objective loss = loss(in);
            Optional<Section> bcr = in.sectionOrNone("bcr");
            Optional<Section> safeguard = in.sectionOrNone("safeguard");
            Optional<Section> dora = in.sectionOrNone(DORA);
            return new ObjectiveRecipe(
                    loss,
                    bcr.isEmpty() ? Optional.empty() : Optional.of(budget(bcr.get())),
                    safeguard.isEmpty() ? Optional.empty() : Optional.of(safeguard(safeguard.get())),
                    dora.isEmpty() ? Optional.empty() : Optional.of(dora(dora.get())),
                    loss.noise() == NoiseSource.ROLLOUT ? Optional.of(RolloutRecipe.read(in)) : Optional.empty());
        });
    }

    private static Objective loss(Section in) throws RecipeException {
        Map<String, Method> byName = new LinkedHashMap<>();
        Method.all().forEach(method -> byName.put(method.name(), method));
        Method method = byName.get(in.kind(KIND, byName.keySet().stream().toList(), Optional.empty()));
        double[] values = new double[method.parameters().size()];
        for (int i = 0; i < values.length; i++) {
            Method.Parameter parameter = method.parameters().get(i);
            OptionalDouble byDefault = parameter.byDefault();
            values[i] = byDefault.isPresent()
                    ? in.numberOrInfinity(parameter.name(), byDefault.getAsDouble())
                    : in.numberOrInfinity(parameter.name());
        }
        return method.with(values);
    }

    private static BcrBudget budget(Section in) throws RecipeException {
        return in.build(() -> new BcrBudget(in.number("lambda"), in.numberOrInfinity("delta")));
    }

    private static SdpoSafeguard safeguard(Section in) throws RecipeException {
        return in.build(() -> new SdpoSafeguard(in.number("mu")));
    }

    private static Dora dora(Section in) throws RecipeException {
        return in.build(() -> new Dora(in.number("lambda", Dora.published().lambda())));
    }

    /// The loss that a step differentiates.
    public PairLoss pairLoss() {
        return new PairLoss(loss, bcr, safeguard);
    }

    @Override
    public Object written() {
        Map<String, Object> fields = ResolvedText.kind(KIND, loss.name(), (Record) loss);
        rollout.ifPresent(teacher -> fields.putAll(ResolvedText.components(teacher)));
        fields.put("bcr", bcr);
        fields.put("safeguard", safeguard);
        if (dora.isPresent()) {
            fields.put(DORA, dora);
        }
        return fields;
    }
}

package org.smpo.objective;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.RecordComponent;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;

/// A preference method: an [Objective] whose parameters are still open. Recipes, the options of `smpo trace`
/// and the list of methods in the guide are made from [#all].
///
/// @param name the short name in recipes and messages, such as `smpo`
/// @param title the name of the method as its paper has it
/// @param arxiv the number of its paper on arXiv; empty where there is none
/// @param loss the loss of one pair in a line
/// @param parameters the record's components, in their order
public record Method(String name, String title, String arxiv, String loss, List<Parameter> parameters) {
    private static final List<Method> ALL = Arrays.stream(Objective.class.getPermittedSubclasses())
            .map(Method::of)
            .toList();

    /// A parameter of a method.
    ///
    /// @param name the key in a recipe, such as `desirable_weight`
    /// @param doc the parameter as a noun phrase
    /// @param byDefault the value where a recipe names none; empty where it must name one
    public record Parameter(String name, String doc, OptionalDouble byDefault) {}

    /// Every method, in the order in which messages list them.
    public static List<Method> all() {
        return ALL;
    }

    /// The method with these parameters.
    ///
    /// @param values one for each of [#parameters]
    /// @throws InvalidParameterException naming the parameter that is out of its range
    public Objective with(double... values) {
        Class<?> type = Objective.class.getPermittedSubclasses()[ALL.indexOf(this)];
        Class<?>[] types = new Class<?>[values.length];
        Arrays.fill(types, double.class);
        try {
            return (Objective) type.getDeclaredConstructor(types)
                    .newInstance(Arrays.stream(values).boxed().toArray());
        } catch (InvocationTargetException e) {
            if (e.getCause() instanceof InvalidParameterException invalid) {
                throw invalid;
            }
            throw new LinkageError("the constructor of " + type + " checks its parameters and nothing else", e);
        } catch (ReflectiveOperationException e) {
            throw new LinkageError("the parameters of " + type + " are doubles", e);
        }
    }

    private static Method of(Class<?> type) {
        MethodInfo info = type.getAnnotation(MethodInfo.class);
        return new Method(
                nameOf(type),
                info.title(),
                info.arxiv(),
                info.loss(),
                Arrays.stream(type.getRecordComponents()).map(Method::parameter).toList());
    }

    /// The parameters of an objective by name.
    static Map<String, Double> valuesOf(Objective objective) {
        Map<String, Double> values = new LinkedHashMap<>();
        for (RecordComponent component : objective.getClass().getRecordComponents()) {
            try {
                values.put(keyOf(component), (Double) component.getAccessor().invoke(objective));
            } catch (ReflectiveOperationException e) {
                throw new LinkageError("the parameters of " + objective.getClass() + " are public doubles", e);
            }
        }
        return values;
    }

    private static Parameter parameter(RecordComponent component) {
        ParameterInfo info = component.getAnnotation(ParameterInfo.class);
        return new Parameter(
                keyOf(component),
                info.value(),
                Double.isNaN(info.byDefault()) ? OptionalDouble.empty() : OptionalDouble.of(info.byDefault()));
    }

    private static String keyOf(RecordComponent component) {
        return component.getName().replaceAll("([A-Z])", "_$1").toLowerCase(Locale.ROOT);
    }

    static String nameOf(Class<?> type) {
        return type.getSimpleName().toLowerCase(Locale.ROOT);
    }
}

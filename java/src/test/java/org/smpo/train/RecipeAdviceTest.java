package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.reflect.Constructor;
import org.junit.jupiter.api.Test;
import org.smpo.ffi.CancelledException;
import org.smpo.ffi.EngineException;
import org.smpo.ffi.EngineOutOfMemoryException;

final class RecipeAdviceTest {
    private static <E extends EngineException> E failure(Class<E> type, String message) throws Exception {
        Constructor<E> constructor = type.getDeclaredConstructor(String.class, long.class);
        constructor.setAccessible(true);
        return constructor.newInstance(message, 0L);
    }

    @Test
    void fieldsOfTheEngineAreKeysOfTheRecipe() throws Exception {
        EngineException full = failure(
                EngineOutOfMemoryException.class,
                "smpo_pair_batch_accumulate: micro_batch.pairs: 8 pairs do not fit into memory; lower it, or open the "
                        + "policy with options.checkpointing 1");
        assertThat(RecipeAdvice.explain(full))
                .hasCause(full)
                .hasMessage(full.getMessage() + " (in the recipe, micro_batch.pairs is train.micro_batch, "
                        + "options.checkpointing is train.gradient_checkpointing)");
        assertThat(RecipeAdvice.explain(failure(EngineOutOfMemoryException.class, "plan.inversion_batch: too many")))
                .hasMessageEndingWith("(in the recipe, plan.inversion_batch is inversion.slots, or"
                        + " objective.slots of rollouts)");
    }

    @Test
    void otherFailuresStayWhatTheyAre() throws Exception {
        EngineException other = failure(EngineOutOfMemoryException.class, "host memory: an allocation failed");
        assertThat(RecipeAdvice.explain(other)).isSameAs(other);
        EngineException cancelled = failure(CancelledException.class, "micro_batch.pairs");
        assertThat(RecipeAdvice.explain(cancelled)).isSameAs(cancelled);
    }
}

package org.smpo.recipe;

/// A value whose text in a recipe is not a mapping of its record's components.
interface Written {
    /// The value as maps with text keys, lists, text, [ResolvedText.Word], numbers, booleans, or another value
    /// of a recipe.
    Object written();
}

package org.smpo.recipe;

/// A value that a recipe's text has in another form than a mapping of its record's components.
interface Written {
    /// Maps with text keys, lists, text, [ResolvedText.Word], numbers, booleans, or another value of a
    /// recipe.
    Object written();
}

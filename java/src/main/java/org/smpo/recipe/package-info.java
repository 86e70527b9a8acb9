/// A run's configuration: records read from YAML, checked, and written back whole.
///
/// [Recipe] is the whole of it. Every record states its own ranges in its constructor, so a recipe that
/// exists is valid, however it was made; the reader adds the file, the line and the key to what a constructor
/// objects to.
package org.smpo.recipe;

/// Configuration of a run: records that are read from YAML, checked, and written back in full.
///
/// [Recipe] is the root. Every record states its own ranges in its constructor, so a recipe that exists is
/// valid, however it was made; the reader adds file, line and key to the errors of the constructors.
package org.smpo.recipe;

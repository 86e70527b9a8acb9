/// What a run says while it goes: a log of one JSON object per line, TensorBoard event files, a progress bar.
///
/// Both files are made so that a run that was interrupted and resumed leaves the same as one that was not: a
/// position in them is part of a checkpoint, and what was written after it is taken back.
package org.smpo.report;

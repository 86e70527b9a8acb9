/// Output of runs: a log with one JSON object per line, TensorBoard event files, progress bars, and HTML
/// reports with charts.
///
/// An interrupted and resumed run leaves the same log and event file as a run that was not interrupted: a
/// checkpoint records the length of both files, and resuming cuts them back to it.
package org.smpo.report;

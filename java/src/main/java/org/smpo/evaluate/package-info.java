/// Paired evaluation: several models draw the same prompts from the same noise, metrics look at the images, and a
/// report says what differs and how sure that is.
///
/// [org.smpo.evaluate.Evaluation] runs one; [org.smpo.evaluate.EvaluationRequest] says what it is. A
/// [org.smpo.evaluate.Metric] is a reward model or the demo's checker; [org.smpo.evaluate.Bootstrap] makes the
/// intervals, by prompts. Everything that is drawn or measured is kept in the evaluation's folder as soon as it is
/// there, so that a run that was killed goes on where it stopped and ends with the same files.
package org.smpo.evaluate;

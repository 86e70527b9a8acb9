/// Paired evaluation: several models generate images for the same prompts from the same noise, metrics
/// score the images, and a report compares the models with bootstrap intervals.
///
/// [org.smpo.evaluate.Evaluation] runs the evaluation that an [org.smpo.evaluate.EvaluationRequest]
/// describes. A [org.smpo.evaluate.Metric] is a reward model or the demo's checker.
/// [org.smpo.evaluate.Bootstrap] computes the intervals. Finished images and scores are kept in the
/// evaluation's folder, so that an interrupted evaluation resumes and ends with the same files.
package org.smpo.evaluate;

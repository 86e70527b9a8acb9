/// The demo's small world: scenes of coloured shapes with captions, drawn, checked and made into preference
/// pairs.
///
/// A [org.smpo.demo.Scene] is what a caption says; [org.smpo.demo.ScenePainter] draws one;
/// [org.smpo.demo.SceneChecker] reads a picture's pixels and says which attributes of a caption it keeps. The
/// checker is the demo's independent measure: nothing is ever trained on it.
package org.smpo.demo;

/// The demo's small world: scenes of coloured shapes with captions, which are painted, checked and made
/// into preference pairs.
///
/// A [org.smpo.demo.Scene] is the content of a caption; [org.smpo.demo.ScenePainter] paints it;
/// [org.smpo.demo.SceneChecker] reads the pixels of an image and tells which attributes match a caption.
/// The checker is the demo's independent metric: nothing is ever trained on it.
package org.smpo.demo;

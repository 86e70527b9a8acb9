/// Preference pairs: reading, ordering, labelling, decoding and checking them.
///
/// A [org.smpo.data.PairSource] gives random access to encoded pairs; [org.smpo.data.DataCursor] orders them;
/// [org.smpo.data.Labeler] decides the winners; [org.smpo.data.PairDecoder] prepares the images. The order,
/// the crop, the
/// flip and the caption dropout of a pair are pure functions of the seed, the epoch and the pair.
package org.smpo.data;

/// Preference pairs: read from the files people have, decoded, put in order, labelled and checked.
///
/// A [org.smpo.data.PairSource] gives random access to encoded pairs; [org.smpo.data.DataCursor] says which come
/// when; [org.smpo.data.PairDecoder] makes pixels of them; [org.smpo.data.Labeler] says who won. Which pair comes
/// when, how it is cropped and whether its caption is dropped are pure functions of the seed, the epoch and the
/// pair.
package org.smpo.data;

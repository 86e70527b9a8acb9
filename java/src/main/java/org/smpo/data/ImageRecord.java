package org.smpo.data;

/// One record of an [ImageSource]: a single image, or what is wrong with the record.
public sealed interface ImageRecord permits SingleImage, BadPair {}

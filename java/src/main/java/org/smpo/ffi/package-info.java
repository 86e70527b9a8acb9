/// The border between Java and the native engine.
package org.smpo.ffi;

/// Benches of the Java side (JMH), and the guard that compares the Java and native hot paths with their
/// recorded figures. Every bench has a test that its contenders agree.
package org.smpo.bench;

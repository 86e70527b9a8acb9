/// Benches of the Java side (JMH), and the guard that holds the hot paths, Java's and native ones, to their recorded
/// figures. Every bench has a test that its contenders agree.
package org.smpo.bench;

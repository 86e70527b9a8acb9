/// The {@code smpo} command: one class per verb, no logic beyond wiring.
package org.smpo.cli;

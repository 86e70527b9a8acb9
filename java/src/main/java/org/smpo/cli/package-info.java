/// The `smpo` command: one class per verb, with the options that verbs share as mixins and no logic beyond wiring.
package org.smpo.cli;

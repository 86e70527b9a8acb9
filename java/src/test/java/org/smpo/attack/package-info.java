/// Attacks on the readers, for `tools/attack`.
package org.smpo.attack;

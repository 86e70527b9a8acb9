/// Files: safetensors, JSON, atomic writes.
package org.smpo.io;

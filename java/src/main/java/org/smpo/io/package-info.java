/// File formats and file operations: safetensors, JSON, Parquet, Arrow, images, atomic writes, locks.
package org.smpo.io;

package org.smpo.cli;

import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;

/// What a failure says to people.
final class Failure {
    private Failure() {}

    /// The message of a failure. Those of Java about files are a path alone.
    static String describe(Exception failure) {
        if (failure instanceof FileSystemException file && file.getReason() == null && file.getFile() != null) {
            return file.getFile() + ": " + reason(file);
        }
        String message = failure.getMessage();
        return message == null || message.isBlank() ? failure.toString() : message;
    }

    private static String reason(FileSystemException failure) {
        return switch (failure) {
            case NoSuchFileException missing -> "expected a file or folder, found nothing; check the path";
            case AccessDeniedException denied ->
                "expected permission to read or write it, found none; change its owner or mode (chmod)";
            case FileAlreadyExistsException exists -> "expected nothing at this path, found a file; move it away";
            case DirectoryNotEmptyException full -> "expected an empty folder, found files in it; move them away";
            case NotDirectoryException file -> "expected a folder, found a file; check the path";
            default -> "expected a usable file, found " + failure.getClass().getSimpleName();
        };
    }
}

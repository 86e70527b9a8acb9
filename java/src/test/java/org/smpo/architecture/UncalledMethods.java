package org.smpo.architecture;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaMethod;
import com.tngtech.archunit.core.domain.JavaModifier;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;

/// Public methods of public types that product code does not call.
///
/// Excluded are accessors of records, compiler-generated methods of enums, and methods that implement
/// or override a supertype's method, since callers use that one.
final class UncalledMethods {
    private UncalledMethods() {}

    /// Names such as `org.smpo.io.Png.write`.
    static Set<String> of(JavaClasses product) {
        Set<String> uncalled = new TreeSet<>();
        for (JavaClass type : product) {
            for (JavaMethod method : type.getMethods()) {
                if (method.getModifiers().contains(JavaModifier.PUBLIC)
                        && !method.getModifiers().contains(JavaModifier.SYNTHETIC)
                        && !method.getModifiers().contains(JavaModifier.BRIDGE)
                        && !generated(type, method)
                        && !overrides(type, method)
                        && method.getCallsOfSelf().isEmpty()
                        && method.getReferencesToSelf().isEmpty()) {
                    uncalled.add(type.getName() + "." + method.getName());
                }
            }
        }
        return uncalled;
    }

    private static boolean generated(JavaClass type, JavaMethod method) {
        boolean accessor = type.isRecord()
                && method.getRawParameterTypes().isEmpty()
                && type.tryGetField(method.getName()).isPresent();
        boolean ofEnum = type.isEnum()
                && (method.getName().equals("values") || method.getName().equals("valueOf"));
        return accessor || ofEnum || method.getName().equals("main");
    }

    private static boolean overrides(JavaClass type, JavaMethod method) {
        return Stream.concat(type.getAllRawInterfaces().stream(), type.getAllRawSuperclasses().stream())
                .anyMatch(parent -> parent.getMethods().stream()
                        .anyMatch(other -> other.getName().equals(method.getName())
                                && other.getRawParameterTypes().size()
                                        == method.getRawParameterTypes().size()));
    }
}

# Flags of all targets.
add_library(smpo_flags INTERFACE)
target_compile_options(smpo_flags INTERFACE
  $<$<COMPILE_LANGUAGE:C,CXX>:-Wall -Wextra -Werror -Wshadow -Wno-unknown-pragmas>
  # One rounding per operation on every instruction set, so that results do not depend on which clone of a kernel runs.
  $<$<COMPILE_LANGUAGE:C,CXX>:-ffp-contract=off>)
if(SMPO_SANITIZE)
  target_compile_options(smpo_flags INTERFACE
    $<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer>)
  target_link_options(smpo_flags INTERFACE -fsanitize=address,undefined)
  target_compile_definitions(smpo_flags INTERFACE SMPO_SANITIZE=1)
endif()

# Flags of this project's own programs; the library itself sets none.

add_library(qlora_program INTERFACE)
target_link_libraries(qlora_program INTERFACE qlora_memory)
# nvcc takes other warnings; the processor's flags it must get too, because the library's names depend on them.
set(cxx $<COMPILE_LANGUAGE:CXX>)
target_compile_options(qlora_program INTERFACE $<${cxx}:-Wall> $<${cxx}:-Wextra> $<${cxx}:-Wconversion> $<${cxx}:-Wpedantic>)
# Where files are compiled together, a parameter may have the name of something in the file before.
target_compile_options(qlora_program INTERFACE $<$<AND:${cxx},$<NOT:$<BOOL:$<TARGET_PROPERTY:UNITY_BUILD>>>>:-Wshadow>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 warns about its own AVX-512 intrinsics (GCC bug 105593).
  target_compile_options(qlora_program INTERFACE $<${cxx}:-Wno-uninitialized> $<${cxx}:-Wno-maybe-uninitialized>)
endif()
if(QLORA_WERROR)
  target_compile_options(qlora_program INTERFACE $<${cxx}:-Werror>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # What the optimizer believes to see depends on flags and processor, and is wrong at times (GCC bugs 105651, 105762).
    foreach(warning restrict array-bounds stringop-overflow stringop-overread free-nonheap-object dangling-pointer nonnull)
      target_compile_options(qlora_program INTERFACE $<${cxx}:-Wno-error=${warning}>)
    endforeach()
  endif()
endif()
if(QLORA_ARCH)
  set(processor -march=${QLORA_ARCH})
elseif(QLORA_NATIVE)
  set(processor -march=native)
endif()
if(processor)
  target_compile_options(qlora_program INTERFACE $<${cxx}:${processor}> $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=${processor}>)
endif()
if(QLORA_SANITIZE)
  target_compile_options(qlora_program INTERFACE $<${cxx}:-fsanitize=${QLORA_SANITIZE}> $<${cxx}:-fno-omit-frame-pointer>
    $<${cxx}:-fno-sanitize-recover=all>)
  target_link_options(qlora_program INTERFACE -fsanitize=${QLORA_SANITIZE})
endif()
if(QLORA_COVERAGE)
  target_compile_options(qlora_program INTERFACE $<${cxx}:--coverage>)
  target_link_options(qlora_program INTERFACE --coverage)
endif()

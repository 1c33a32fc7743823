# qlora::compiled, a static library of what takes long to compile in each file that uses it: every named format's part of loading, the
# loader, Llama<float> and its training, products, the optimizers by name, and the interpreter of chat templates. Link it instead of qlora::text; the
# headers then only declare all that. It is compiled within the project that links it, with that project's flags, and not at all where
# nobody links it.

if(TARGET qlora::text AND NOT TARGET qlora_compiled)
  set(qlora_sources ${CMAKE_CURRENT_LIST_DIR}/src) # as installed
  if(NOT EXISTS ${qlora_sources})
    set(qlora_sources ${CMAKE_CURRENT_LIST_DIR}/../src)
  endif()
  add_library(qlora_compiled STATIC EXCLUDE_FROM_ALL ${qlora_sources}/models.cpp ${qlora_sources}/products.cpp
    ${qlora_sources}/training.cpp)
  add_library(qlora::compiled ALIAS qlora_compiled)
  foreach(part RANGE 7)
    set(source ${CMAKE_CURRENT_BINARY_DIR}/qlora_compiled/formats_${part}.cpp)
    configure_file(${qlora_sources}/formats.cpp.in ${source} @ONLY)
    target_sources(qlora_compiled PRIVATE ${source})
  endforeach()
  target_compile_definitions(qlora_compiled PUBLIC QLORA_COMPILED)
  target_link_libraries(qlora_compiled PUBLIC qlora::text qlora::memory $<TARGET_NAME_IF_EXISTS:qlora_program>)
endif()

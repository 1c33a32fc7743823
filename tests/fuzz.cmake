# Fuzzers (clang's libFuzzer) for what reads files of strangers; each starts from the corpus and runs for a while.

set(QLORA_FUZZ_SECONDS 15 CACHE STRING "How long each fuzzer runs")
foreach(name safetensors gguf tokenizer_json adapter_config jinja)
  add_executable(fuzz_${name} fuzz/${name}.cpp)
  target_link_libraries(fuzz_${name} PRIVATE qlora_program qlora::text)
  target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -O1)
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer,address,undefined)
  set(found ${CMAKE_CURRENT_BINARY_DIR}/fuzz/${name})
  file(MAKE_DIRECTORY ${found})
  set(broken)
  if(name STREQUAL "safetensors" OR name STREQUAL "gguf")
    set(broken ${CMAKE_CURRENT_SOURCE_DIR}/corpus/broken)
  endif()
  # No single allocation of more than 64 MiB for inputs of at most 64 KiB, 10 seconds an input.
  add_test(NAME "fuzz: ${name}" COMMAND fuzz_${name} -max_total_time=${QLORA_FUZZ_SECONDS} -max_len=65536 -malloc_limit_mb=64
    -timeout=10 -print_final_stats=1 -artifact_prefix=${CMAKE_CURRENT_BINARY_DIR}/fuzz/ ${found}
    ${CMAKE_CURRENT_SOURCE_DIR}/corpus/seeds/${name} ${broken})
  math(EXPR limit "${QLORA_FUZZ_SECONDS} + 120")
  set_tests_properties("fuzz: ${name}" PROPERTIES TIMEOUT ${limit} ENVIRONMENT OMP_NUM_THREADS=1)
endforeach()

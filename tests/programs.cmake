# Tests of the programs on a tiny model, of the house rules, and of how others use the library.

add_executable(make_tiny_model support/make_tiny_model.cpp)
target_link_libraries(make_tiny_model PRIVATE qlora_test)

set(python ${CMAKE_COMMAND} -E env PYTHONDONTWRITEBYTECODE=1 QLORA_EXAMPLES=${PROJECT_BINARY_DIR}/examples
  QLORA_MAKE_TINY_MODEL=$<TARGET_FILE:make_tiny_model> QLORA_TEST_MODEL=${QLORA_TEST_MODEL}
  QLORA_TEST_TEXT=${QLORA_TEST_TEXT} ${Python3_EXECUTABLE})

foreach(name finetune chat perplexity evaluate memory_report datatype_study quantize paged_optimizer elo relative short_examples mlp finetune_loop
        output signals terminal)
  add_test(NAME "programs: ${name}" COMMAND ${python} ${CMAKE_CURRENT_SOURCE_DIR}/programs/${name}_test.py)
  set_tests_properties("programs: ${name}" PROPERTIES TIMEOUT 300)
endforeach()
# Known faults: what public reports of other programs' bugs look like here; each file is one kind.
file(GLOB faults CONFIGURE_DEPENDS faults/*_test.py)
foreach(path ${faults})
  get_filename_component(name ${path} NAME_WE)
  string(REPLACE "_test" "" name ${name})
  add_test(NAME "faults: ${name}" COMMAND ${python} ${path})
  set_tests_properties("faults: ${name}" PROPERTIES TIMEOUT 600)
endforeach()
add_test(NAME "programs: end to end on the real model"
  COMMAND ${python} ${CMAKE_CURRENT_SOURCE_DIR}/programs/end_to_end_test.py)
set_tests_properties("programs: end to end on the real model" PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 1200 RUN_SERIAL ON)

get_target_property(eigen_include Eigen3::Eigen INTERFACE_INCLUDE_DIRECTORIES)

add_test(NAME "house: includes go only up the list of folders"
  COMMAND ${python} ${CMAKE_CURRENT_SOURCE_DIR}/include_direction.py ${PROJECT_SOURCE_DIR}/include/qlora)
add_test(NAME "house: what is private stays in its folder, and no header is long"
  COMMAND ${python} ${CMAKE_CURRENT_SOURCE_DIR}/private_names.py ${PROJECT_SOURCE_DIR})
add_test(NAME "house: public declarations have doc comments"
  COMMAND ${python} ${CMAKE_CURRENT_SOURCE_DIR}/documented.py ${PROJECT_SOURCE_DIR}/include/qlora)
add_test(NAME "house: what documents point to is there"
  COMMAND ${python} ${CMAKE_CURRENT_SOURCE_DIR}/documents.py ${PROJECT_SOURCE_DIR})
add_test(NAME "house: clang-format leaves every file as it is"
  COMMAND ${python} ${CMAKE_CURRENT_SOURCE_DIR}/format.py ${PROJECT_SOURCE_DIR})
set_tests_properties("house: clang-format leaves every file as it is" PROPERTIES SKIP_RETURN_CODE 77)
add_test(NAME "house: examples in headers and documents compile"
  COMMAND ${python} ${CMAKE_CURRENT_SOURCE_DIR}/examples/headers.py ${PROJECT_SOURCE_DIR} host ${CMAKE_CXX_COMPILER} -std=c++20
    -fsyntax-only -I${PROJECT_SOURCE_DIR}/include -isystem ${eigen_include})
add_test(NAME "house: examples for a device compile"
  COMMAND ${python} ${CMAKE_CURRENT_SOURCE_DIR}/examples/headers.py ${PROJECT_SOURCE_DIR} device nvcc -std=c++20
    --expt-relaxed-constexpr -arch=sm_90 -c -I${PROJECT_SOURCE_DIR}/include -I${eigen_include})
set_tests_properties("house: examples in headers and documents compile" "house: examples for a device compile"
  PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 900)

add_test(NAME "house: examples are short, and open with what they show and their command"
  COMMAND ${python} ${CMAKE_CURRENT_SOURCE_DIR}/examples/short.py ${PROJECT_SOURCE_DIR}/examples)

# Code that must not compile, with the sentence it must give; each file has the sentence in its first line. The headers are parsed once.
file(GLOB refused CONFIGURE_DEPENDS compile_fail/*.cpp)
set(flags -std=c++20 -DQLORA_COMPILED -I${PROJECT_SOURCE_DIR}/include -isystem ${eigen_include})
set(headers ${CMAKE_CURRENT_BINARY_DIR}/compile_fail/headers.hpp)
configure_file(compile_fail/headers.hpp ${headers} COPYONLY)
add_test(NAME "compile fail: headers" COMMAND ${CMAKE_CXX_COMPILER} ${flags} -x c++-header ${headers} -o ${headers}.gch)
set_tests_properties("compile fail: headers" PROPERTIES FIXTURES_SETUP parsed_headers)
foreach(source ${refused})
  get_filename_component(name ${source} NAME_WE)
  string(REPLACE "_" " " title ${name})
  add_test(NAME "compile fail: ${title}" COMMAND ${python} ${CMAKE_CURRENT_SOURCE_DIR}/compile_fail/refused.py
    ${source} ${headers} ${CMAKE_CXX_COMPILER} ${flags} -fsyntax-only)
  set_tests_properties("compile fail: ${title}" PROPERTIES FIXTURES_REQUIRED parsed_headers)
endforeach()

# How others build with the library: the bare compiler without a warning, find_package, FetchContent, and what CMake says where something lacks.
foreach(way bare installed fetched configured)
  add_test(NAME "consumer: ${way}" COMMAND ${python} ${CMAKE_CURRENT_SOURCE_DIR}/consumer/consumer.py ${way}
    ${PROJECT_SOURCE_DIR} ${CMAKE_CXX_COMPILER} ${eigen_include})
  set_tests_properties("consumer: ${way}" PROPERTIES TIMEOUT 600)
endforeach()

add_test(NAME "consumer: units of one program compiled differently" COMMAND ${python}
  ${CMAKE_CURRENT_SOURCE_DIR}/consumer/units.py ${PROJECT_SOURCE_DIR} ${CMAKE_CXX_COMPILER} ${eigen_include})
set_tests_properties("consumer: units of one program compiled differently" PROPERTIES TIMEOUT 600)

add_test(NAME "consumer: a .cu beside a .cpp" COMMAND ${python}
  ${CMAKE_CURRENT_SOURCE_DIR}/consumer/cuda/both.py ${PROJECT_SOURCE_DIR} ${CMAKE_CXX_COMPILER} ${eigen_include})
set_tests_properties("consumer: a .cu beside a .cpp" PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 900)

add_test(NAME "consumer: names beside Eigen's" COMMAND ${python} ${CMAKE_CURRENT_SOURCE_DIR}/consumer/names.py
  ${PROJECT_SOURCE_DIR} ${CMAKE_CXX_COMPILER} ${eigen_include})
set_tests_properties("consumer: names beside Eigen's" PROPERTIES TIMEOUT 600)

option(QLORA_TEST_MORE_COMPILERS "Compare the bits of more compilers and flags, as tests/long.sh does" OFF)
add_test(NAME "consumer: the same bits whatever the compiler and its flags" COMMAND ${python}
  ${CMAKE_CURRENT_SOURCE_DIR}/consumer/same_bits.py $<IF:$<BOOL:${QLORA_TEST_MORE_COMPILERS}>,all,few> ${PROJECT_SOURCE_DIR} ${CMAKE_CXX_COMPILER} ${eigen_include})
set_tests_properties("consumer: the same bits whatever the compiler and its flags" PROPERTIES TIMEOUT 900)

# The scalar functions, the view and the kernels on the device's side, where nvcc is found.
set(QLORA_TEST_ARCHITECTURES 90 CACHE STRING "Compute capabilities that kernels are compiled for to be looked at; tests/long.sh takes more")
add_test(NAME "cuda: kernels compile without spills to the promised machine code"
  COMMAND ${python} ${CMAKE_CURRENT_SOURCE_DIR}/cuda/sass_test.py ${CMAKE_CURRENT_SOURCE_DIR}/cuda/kernels.cu
    ${PROJECT_SOURCE_DIR}/include ${QLORA_TEST_ARCHITECTURES})
set_tests_properties("cuda: kernels compile without spills to the promised machine code"
  PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 900)
foreach(name device_functions named_formats)
  string(REPLACE "_" " " title ${name})
  add_test(NAME "cuda: ${title} compile"
    COMMAND ${python} ${CMAKE_CURRENT_SOURCE_DIR}/cuda/compile.py ${CMAKE_CURRENT_SOURCE_DIR}/cuda/${name}.cu
      ${PROJECT_SOURCE_DIR}/include ${QLORA_TEST_ARCHITECTURES})
  set_tests_properties("cuda: ${title} compile" PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
endforeach()
add_test(NAME "cuda: no host function calls one of the device"
  COMMAND ${python} ${CMAKE_CURRENT_SOURCE_DIR}/cuda/host_side_test.py ${PROJECT_BINARY_DIR})
set_tests_properties("cuda: no host function calls one of the device" PROPERTIES SKIP_RETURN_CODE 77)
add_test(NAME "cuda: no product of decode fuses with a caller's sum"
  COMMAND ${python} ${CMAKE_CURRENT_SOURCE_DIR}/cuda/compile.py ${CMAKE_CURRENT_SOURCE_DIR}/cuda/rounded_apart.cu
    ${PROJECT_SOURCE_DIR}/include --rounded-apart 80)
set_tests_properties("cuda: no product of decode fuses with a caller's sum" PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)

# Installation for find_package(qlora): headers and the same targets.

include(CMakePackageConfigHelpers)
configure_package_config_file(cmake/qloraConfig.cmake.in ${PROJECT_BINARY_DIR}/qloraConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/qlora PATH_VARS CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/qloraConfigVersion.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(DIRECTORY include/qlora DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${PROJECT_BINARY_DIR}/qloraConfig.cmake ${PROJECT_BINARY_DIR}/qloraConfigVersion.cmake cmake/QloraTargets.cmake
  cmake/QloraCompiled.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/qlora)
install(DIRECTORY src DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/qlora)

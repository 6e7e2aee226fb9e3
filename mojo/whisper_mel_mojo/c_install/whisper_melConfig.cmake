# find_package(whisper_mel) finds this file in a folder of CMAKE_PREFIX_PATH;
# target_link_libraries(… whisper_mel::whisper_mel) then adds library and header.
if(NOT TARGET whisper_mel::whisper_mel)
  add_library(whisper_mel::whisper_mel SHARED IMPORTED)
  set_target_properties(whisper_mel::whisper_mel PROPERTIES
    IMPORTED_LOCATION "${CMAKE_CURRENT_LIST_DIR}/@SONAME@"
    IMPORTED_SONAME "@SONAME@"
    INTERFACE_INCLUDE_DIRECTORIES "${CMAKE_CURRENT_LIST_DIR}")
endif()

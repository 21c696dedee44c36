# Finds OpenBLAS with its LAPACK, and LAPACKE: inside OpenBLAS where it was built so, else as a library of its own
# (Debian). Defines the target vertexq::blas. OpenBLAS_HOME or CMAKE_PREFIX_PATH name an installation elsewhere.
#
# VERTEXQ_BUNDLED_OPENBLAS: an OpenBLAS that is shipped beside the addon (scripts/platforms), with LAPACKE and a prefix before its names.
set(VERTEXQ_BUNDLED_OPENBLAS "" CACHE PATH "Folder with include/ and lib/ of an OpenBLAS to be shipped beside the addon")
if(VERTEXQ_BUNDLED_OPENBLAS)
  file(GLOB bundled_library ${VERTEXQ_BUNDLED_OPENBLAS}/lib/libscipy_openblas.*)
  if(WIN32) # the DLL stands beside what is linked
    list(FILTER bundled_library INCLUDE REGEX "\\.(lib|dll\\.a)$")
  endif()
  if(NOT bundled_library)
    message(FATAL_ERROR "${VERTEXQ_BUNDLED_OPENBLAS}/lib has no libscipy_openblas")
  endif()
  add_library(vertexq_blas INTERFACE)
  add_library(vertexq::blas ALIAS vertexq_blas)
  target_include_directories(vertexq_blas SYSTEM INTERFACE ${VERTEXQ_BUNDLED_OPENBLAS}/include)
  target_link_libraries(vertexq_blas INTERFACE ${bundled_library})
  target_compile_definitions(vertexq_blas INTERFACE VERTEXQ_BLAS_PREFIXED)
  # The addon finds it beside itself, wherever that is.
  set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)
  if(APPLE)
    set(CMAKE_INSTALL_RPATH "@loader_path")
  else()
    set(CMAKE_INSTALL_RPATH "$ORIGIN")
  endif()
  return()
endif()

include(CheckCXXSymbolExists)
include(CMakePushCheckState)

set(openblas_missing
    "
Install it with
  Debian, Ubuntu    apt-get install libopenblas-dev liblapacke-dev
  Fedora, RHEL      dnf install openblas-devel
  macOS             brew install openblas
  Windows           the OpenBLAS release archive from github.com/OpenMathLib/OpenBLAS (vcpkg's has no LAPACKE)
or set OpenBLAS_HOME to the folder that holds its include/ and lib/.")

# macOS keeps another cblas.h and LAPACK in its Accelerate framework.
set(CMAKE_FIND_FRAMEWORK NEVER)

set(openblas_homes "$ENV{OpenBLAS_HOME}" "$ENV{OPENBLAS_HOME}" "${OpenBLAS_HOME}")
list(REMOVE_ITEM openblas_homes "")
set(openblas_kegs /opt/homebrew/opt/openblas /usr/local/opt/openblas) # Homebrew links it nowhere else

# pkg-config goes first for headers, where netlib's cblas.h may stand in the usual place, but last for the library: CMake
# writes a RUNPATH for a folder that is not a system one, and Debian's openblas.pc names such a folder, which would pin
# the addon to one of the OpenBLAS variants among which update-alternatives chooses.
find_package(PkgConfig QUIET)
if(PKG_CONFIG_FOUND)
  pkg_check_modules(VERTEXQ_PC_OPENBLAS QUIET openblas)
endif()

find_path(
  VERTEXQ_CBLAS_INCLUDE cblas.h
  HINTS ${openblas_homes} ${VERTEXQ_PC_OPENBLAS_INCLUDE_DIRS}
  PATHS ${openblas_kegs}
  PATH_SUFFIXES include include/openblas openblas)
find_path(
  VERTEXQ_LAPACKE_INCLUDE lapacke.h
  HINTS ${openblas_homes} ${VERTEXQ_PC_OPENBLAS_INCLUDE_DIRS}
  PATHS ${openblas_kegs}
  PATH_SUFFIXES include include/openblas openblas)
# openblasp: Fedora's name for the build with POSIX threads.
find_library(
  VERTEXQ_OPENBLAS_LIBRARY
  NAMES openblasp openblas libopenblas
  HINTS ${openblas_homes}
  PATHS ${openblas_kegs} ${VERTEXQ_PC_OPENBLAS_LIBRARY_DIRS}
  PATH_SUFFIXES lib)

foreach(part VERTEXQ_CBLAS_INCLUDE VERTEXQ_LAPACKE_INCLUDE VERTEXQ_OPENBLAS_LIBRARY)
  if(NOT ${part})
    set(what_VERTEXQ_CBLAS_INCLUDE "its header cblas.h")
    set(what_VERTEXQ_LAPACKE_INCLUDE "the header lapacke.h")
    set(what_VERTEXQ_OPENBLAS_LIBRARY "the library")
    message(FATAL_ERROR "vertexq needs OpenBLAS with LAPACKE; ${what_${part}} was not found.${openblas_missing}")
  endif()
endforeach()

# What a library can do is asked of the linker: the file's name does not tell.
function(vertexq_has symbol header libraries result)
  cmake_push_check_state(RESET)
  set(CMAKE_REQUIRED_QUIET ON)
  set(CMAKE_REQUIRED_INCLUDES ${VERTEXQ_CBLAS_INCLUDE} ${VERTEXQ_LAPACKE_INCLUDE})
  set(CMAKE_REQUIRED_LIBRARIES ${libraries} Threads::Threads)
  check_cxx_symbol_exists(${symbol} ${header} ${result})
  cmake_pop_check_state()
endfunction()

vertexq_has(cblas_dgemm cblas.h "${VERTEXQ_OPENBLAS_LIBRARY}" VERTEXQ_HAVE_CBLAS)
if(NOT VERTEXQ_HAVE_CBLAS)
  message(FATAL_ERROR "${VERTEXQ_OPENBLAS_LIBRARY} has no C interface (cblas_dgemm).${openblas_missing}")
endif()

# OpenBLAS stays first on the line: liblapacke names LAPACK routines without saying whose, and the first library that
# has them answers.
set(blas_libraries ${VERTEXQ_OPENBLAS_LIBRARY})
vertexq_has(LAPACKE_dpotrf lapacke.h "${blas_libraries}" VERTEXQ_OPENBLAS_HAS_LAPACKE)
if(NOT VERTEXQ_OPENBLAS_HAS_LAPACKE)
  find_library(
    VERTEXQ_LAPACKE_LIBRARY
    NAMES lapacke liblapacke
    HINTS ${openblas_homes}
    PATH_SUFFIXES lib)
  if(VERTEXQ_LAPACKE_LIBRARY)
    list(APPEND blas_libraries ${VERTEXQ_LAPACKE_LIBRARY})
    vertexq_has(LAPACKE_dpotrf lapacke.h "${blas_libraries}" VERTEXQ_LIBLAPACKE_HAS_LAPACKE)
  endif()
  if(NOT VERTEXQ_LIBLAPACKE_HAS_LAPACKE)
    message(FATAL_ERROR "This OpenBLAS was built without LAPACKE, and no liblapacke was found.${openblas_missing}")
  endif()
endif()
message(STATUS "OpenBLAS: ${blas_libraries}")

add_library(vertexq_blas INTERFACE)
add_library(vertexq::blas ALIAS vertexq_blas)
target_include_directories(vertexq_blas SYSTEM INTERFACE ${VERTEXQ_CBLAS_INCLUDE} ${VERTEXQ_LAPACKE_INCLUDE})
target_link_libraries(vertexq_blas INTERFACE ${blas_libraries})
unset(CMAKE_FIND_FRAMEWORK)

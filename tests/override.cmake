# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
#
# The programs of override/, each through the doors it is meant for: preload, linked, static.
set(ov ${CMAKE_CURRENT_SOURCE_DIR}/override)
set(ov_flags -fno-builtin -O1 -g -Wall -Wextra)
set(ov_linked preload static linked)
if(NOT TARGET hakmem_shared)
	set(ov_linked static)
endif()

# ov_test(name source DOORS … [ARGS …]) makes and runs <name>_<door>.
function(ov_test name source)
	cmake_parse_arguments(PARSE_ARGV 2 t "" "" "DOORS;ARGS")
	if(NOT EXISTS ${ov}/${source})
		return()
	endif()
	foreach(door IN LISTS t_DOORS)
		if(NOT door IN_LIST ov_linked)
			continue()
		endif()
		add_executable(${name}_${door} ${ov}/${source})
		target_compile_options(${name}_${door} PRIVATE ${ov_flags})
		target_compile_definitions(${name}_${door} PRIVATE $<$<COMPILE_LANGUAGE:C>:_GNU_SOURCE=>)
		target_link_libraries(${name}_${door} PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
		if(door STREQUAL "linked")
			target_link_libraries(${name}_${door} PRIVATE hakmem_shared)
			# also when nothing of it is named
			target_link_options(${name}_${door} PRIVATE -Wl,--no-as-needed)
		elseif(door STREQUAL "static")
			target_link_libraries(${name}_${door} PRIVATE hakmem_static)
		endif()
		add_test(NAME ${name}_${door} COMMAND ${name}_${door} ${t_ARGS})
		hk_door_environment(env ${door})
		set_tests_properties(${name}_${door} PROPERTIES LABELS override TIMEOUT 120
			ENVIRONMENT "${env}" SKIP_RETURN_CODE 77)
	endforeach()
endfunction()

set(ov_all preload static linked)
ov_test(ov_names ov_names.c DOORS ${ov_all})
ov_test(ov_early ov_early.c DOORS ${ov_all})
ov_test(ov_fork ov_fork.c DOORS ${ov_all})
if(TARGET hakmem_shared)
	ov_test(ov_introspect ov_introspect.c DOORS ${ov_all})
	if(NOT HK_MINIMAL) # which knows no other allocator
		ov_test(ov_foreign ov_foreign.c DOORS preload linked)
	endif()
	# hakmem's operators are looked for when the program starts, so not with --as-needed alone
	ov_test(ov_cxx_names ov_cxx_names.c DOORS linked static ARGS die)

	add_library(ov_deepbind_lib SHARED ${ov}/ov_deepbind_lib.c)
	ov_test(ov_deepbind ov_deepbind.c DOORS preload linked ARGS $<TARGET_FILE:ov_deepbind_lib>)

	set(origin ${CMAKE_CURRENT_BINARY_DIR}/outer)
	add_library(ov_origin_outer SHARED ${ov}/ov_origin_outer.c)
	target_link_libraries(ov_origin_outer PRIVATE ${CMAKE_DL_LIBS})
	target_link_options(ov_origin_outer PRIVATE "-Wl,--enable-new-dtags,-rpath,$ORIGIN/inner")
	set_target_properties(ov_origin_outer PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${origin})
	add_library(ov_origin_inner SHARED ${ov}/ov_origin_inner.c)
	set_target_properties(ov_origin_inner PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${origin}/inner)
	ov_test(ov_origin ov_origin.c DOORS preload linked ARGS $<TARGET_FILE:ov_origin_outer>)
endif()

if(CMAKE_CXX_COMPILER_LOADED AND TARGET hakmem_shared)
	set(CMAKE_CXX_STANDARD 17)
	ov_test(ov_cxx ov_cxx.cc DOORS preload linked)
	ov_test(ov_cxx_given_up ov_cxx.cc DOORS static ARGS static)
	ov_test(ov_cxx_partial ov_cxx_partial.cc DOORS ${ov_all})
	ov_test(ov_static_mix ov_static_mix.cc DOORS ${ov_all})

	add_library(ov_late_cxx_lib SHARED ${ov}/ov_late_cxx_lib.cc)
	ov_test(ov_late_cxx ov_late_cxx.c DOORS preload linked ARGS $<TARGET_FILE:ov_late_cxx_lib>)
endif()

# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
#
# The checks of tools/ as tests. Those that look at sources run in every flavour: they are quick.
find_program(HK_PYTHON NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH REQUIRED)
set(tools ${PROJECT_SOURCE_DIR}/tools)

function(hakmem_add_check name)
	add_test(NAME check_${name} COMMAND ${HK_PYTHON} ${ARGN} COMMAND_EXPAND_LISTS)
	set_tests_properties(check_${name} PROPERTIES LABELS check SKIP_RETURN_CODE 77)
endfunction()

hakmem_add_check(floors ${tools}/check_floors.py)
hakmem_add_check(size ${tools}/check_size.py)
hakmem_add_check(options_doc ${tools}/options_doc.py --check)
hakmem_add_check(tele_doc ${tools}/tele_doc.py --check)
hakmem_add_check(headers ${tools}/check_headers.py cc)
hakmem_add_check(symbols ${tools}/check_symbols.py ${PROJECT_SOURCE_DIR} ${CMAKE_NM}
	$<TARGET_OBJECTS:hakmem_objects_static>)

# What is exported, and the hot path, are promises of the release library only.
set(promised ON)
foreach(changed HK_CHECK_LEVEL HK_TELE_LEVEL HK_MINIMAL HK_RARE HK_SANITIZE)
	if(${changed})
		set(promised OFF)
	endif()
endforeach()
if(promised AND HK_BUILD_SHARED AND HK_OVERRIDE AND CMAKE_BUILD_TYPE STREQUAL "Release")
	hakmem_add_check(exports ${tools}/check_exports.py $<TARGET_FILE:hakmem_shared>)
	hakmem_add_check(elf ${tools}/check_elf.py $<TARGET_FILE:hakmem_shared> ${CMAKE_READELF})
	if(NOT CMAKE_CROSSCOMPILING)
		add_test(NAME check_reproducible COMMAND ${HK_PYTHON} ${tools}/check_reproducible.py
			${CMAKE_COMMAND} ${CMAKE_C_COMPILER} CONFIGURATIONS long Long)
		set_tests_properties(check_reproducible PROPERTIES LABELS "check;long" TIMEOUT 600)
	endif()
	if(NOT EXTRA_CFLAGS)
		hakmem_add_check(golden ${tools}/golden.py $<TARGET_FILE:hakmem_shared>
			--objdump ${CMAKE_OBJDUMP})
	endif()
endif()

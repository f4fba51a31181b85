/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * A program in C, without a C++ library, loads one in C++ with RTLD_LOCAL: new fails in there, its
 * new-handler runs, the exception is thrown and caught. Argument: the library of
 * ov_late_cxx_lib.cc. */
#include "ov.h"

#include <dlfcn.h>

int main(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : "./libov_late_cxx_lib.so";
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	int (*run)(void);

	if (library == NULL)
		OV_FAIL("%s", dlerror());
	OV_CHECK(dlsym(RTLD_DEFAULT, "_ZSt17__throw_bad_allocv") == NULL);
	run = (int (*)(void))dlsym(library, "ov_late_cxx_run");
	OV_CHECK(run != NULL);
	OV_CHECK(run() == 0);
	dlclose(library);
	return 0;
}

/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * dlopen by a library's own RUNPATH and $ORIGIN works: hakmem must not look like the caller.
 * Argument: the library of ov_origin_outer.c, in another folder than this program and linked with
 * -Wl,--enable-new-dtags,-rpath,'$ORIGIN/inner'; beside it, in inner/, libov_origin_inner.so. */
#include "ov.h"

#include <dlfcn.h>

int main(int argc, char **argv)
{
	void *outer = dlopen(argc > 1 ? argv[1] : "outer/libov_origin_outer.so", RTLD_NOW);
	const char *(*run)(void);
	const char *said;

	if (outer == NULL)
		OV_FAIL("%s", dlerror());
	run = (const char *(*)(void))dlsym(outer, "ov_origin_run");
	OV_CHECK(run != NULL);
	said = run();
	if (said != NULL)
		OV_FAIL("%s", said);
	/* From here the RUNPATH of the library must not count. */
	OV_CHECK(dlopen("libov_origin_inner2.so", RTLD_NOW) == NULL);
	return 0;
}

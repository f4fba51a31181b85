/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * The library of ov_origin.c. NULL, or what went wrong. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <stddef.h>

const char *ov_origin_run(void);

const char *ov_origin_run(void)
{
	void *by_runpath = dlopen("libov_origin_inner.so", RTLD_NOW | RTLD_DEEPBIND);
	void *by_origin = dlopen("$ORIGIN/inner/libov_origin_inner.so", RTLD_NOW);

	if (by_runpath == NULL || by_origin == NULL)
		return dlerror();
	return by_runpath == by_origin ? NULL : "two copies of one library";
}

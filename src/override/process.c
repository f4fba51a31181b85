/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * What happens once a process: the environment is read, libc is found, fork is told. */
#include "override/override.h"

#include <pthread.h>
#include <unistd.h> /* environ */

#include "api/api.h"
#include "base/check.h" /* hk_warn */

static char *const no_environment[] = { NULL };

/* 101: the first that a library may ask for. Libraries that hakmem doesn't depend on may be
 * constructed, and allocate, earlier: they get the default profile. environ is libc's, which is
 * constructed before: musl passes constructors no arguments, and after clearenv it is NULL. */
__attribute__((constructor(101))) static void start_process(void)
{
	static bool started HK_NEAR;

	if (started)
		return;
	started = true;
	hk_foreign_init(); /* first: hk_init says whether FORCE_LIBC_ALLOC can be had */
	hk_init(environ != NULL ? environ : no_environment);
	/* Registered early, so prepared late and resumed early: others' handlers may allocate. libc
	 * drops the handlers with the library, which is never unloaded (-z nodelete). */
	if (pthread_atfork(hk_fork_prepare, hk_fork_parent, hk_fork_child) != 0)
		hk_warn("pthread_atfork failed: fork is unsafe while other threads allocate");
}

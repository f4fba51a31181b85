/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* LD_AUDIT: an audit library, in a namespace of its own, allocates while hakmem is preloaded. */
#include <dlfcn.h>
#include <string.h>
#include <sys/prctl.h>

#include "door.h"

static void *work(void *arg)
{
	for (size_t n = 1; n < T_MiB; n = n * 2 + 1)
		T_FREE(t_launder(memset(T_MALLOC(n), 1, n)));
	return arg;
}

static void under_audit(void)
{
	char name[17] = "";
	void *handle, *block = t_launder(T_MALLOC(100000));

	t_need(prctl(PR_GET_NAME, name) == 0);
	t_need(strcmp(name, "audited") == 0); /* trap_audit_lib.c was there */
	t_need(t_live() >= 100000);           /* and so is hakmem */
	T_FREE(block);
	work(NULL);
	t_join(t_thread(work, NULL));
	handle = dlopen("libm.so.6", RTLD_NOW); /* which the library hears of */
	t_need(handle != NULL && dlclose(handle) == 0);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = { T_CASE(under_audit) };

	return t_main(argc, argv, cases, T_COUNT(cases));
}

/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* dlmopen: a library in a namespace of its own has a libc, and so a malloc, of its own. It works beside
 * hakmem, from many threads; its blocks in the wrong free end in a message. A second hakmem, in such a
 * namespace, works beside the first. Arguments: the library of trap_private_lib.c, that of
 * trap_linked_lib.c. */
#include <dlfcn.h>
#include <string.h>

#include "abort.h"
#include "door.h"

static const char *plain, *linked;
static char *(*give)(size_t);
static void (*take)(void *);

static void *cross(void *arg)
{
	for (size_t n = 1; n < 400000; n = n * 2 + 7) {
		char *theirs = give(n), *ours = T_MALLOC(n);

		t_need(theirs != NULL && ours != NULL);
		memset(theirs, 1, n);
		memset(ours, 2, n);
		t_check_at(theirs[n - 1] == 1, n);
		take(theirs);
		T_FREE(ours);
	}
	return arg;
}

static void another_libc(void)
{
	void *handle = dlmopen(LM_ID_NEWLM, plain, RTLD_NOW);
	pthread_t thread[8];

	if (handle == NULL)
		t_say("%s", dlerror());
	t_need(handle != NULL);
	give = (char *(*)(size_t))dlsym(handle, "trap_give_libc");
	take = (void (*)(void *))dlsym(handle, "trap_take_libc");
	t_need(give != NULL && take != NULL);
	cross(NULL);
	for (unsigned i = 0; i < T_COUNT(thread); i++)
		thread[i] = t_thread(cross, NULL);
	for (unsigned i = 0; i < T_COUNT(thread); i++)
		t_join(thread[i]);
	must_abort(T_FREE, give(100), "hakmem: free(): invalid pointer 0x");
	t_equal(dlclose(handle), 0);
}

static void another_hakmem(void)
{
	void *handle = dlmopen(LM_ID_NEWLM, linked, RTLD_NOW);
	void *(*use)(void);

	if (handle == NULL)
		t_say("%s", dlerror());
	t_need(handle != NULL);
	use = (void *(*)(void))dlsym(handle, "trap_use_hakmem");
	t_need(use != NULL && use() != NULL);
	T_FREE(T_MALLOC(100));
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = { T_CASE(another_libc), T_CASE(another_hakmem) };

	t_need(argc > 2);
	plain = argv[1];
	linked = argv[2];
	return t_main(1, argv, cases, T_COUNT(cases));
}

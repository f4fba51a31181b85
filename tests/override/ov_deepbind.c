/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * A library loaded with RTLD_DEEPBIND shares the heap with the program, in both directions.
 * Argument: the library of ov_deepbind_lib.c. */
#include "ov.h"

#include <dlfcn.h>

int main(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : "./libov_deepbind_lib.so";
	void *library = dlopen(path, RTLD_NOW | RTLD_DEEPBIND);
	char *(*give)(int);
	void (*take)(void *);
	void *(*address)(void);

	if (library == NULL)
		OV_FAIL("%s", dlerror());
	give = (char *(*)(int))dlsym(library, "ov_deepbind_give");
	take = (void (*)(void *))dlsym(library, "ov_deepbind_take");
	address = (void *(*)(void))dlsym(library, "ov_deepbind_malloc");
	OV_CHECK(give != NULL && take != NULL && address != NULL);
	OV_CHECK(address() == dlsym(RTLD_DEFAULT, "malloc"));
	for (int way = 0; way < 3; way++) {
		char *text = give(way);

		OV_CHECK(text != NULL && strcmp(text, "4711") == 0);
		text = realloc(text, 1000);
		free(ov_hide(text));
		take(strdup("back"));
	}
	return 0;
}

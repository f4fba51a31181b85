/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* A library that is linked with hakmem, for programs that are not. */
#include <string.h>

#include "hakmem/hakmem.h"

void *trap_use_hakmem(void);

/* Any address but NULL: it worked. */
void *trap_use_hakmem(void)
{
	for (size_t n = 1; n < 3000000; n = n * 3 / 2 + 1) {
		char *p = hak_malloc(n);

		if (p == NULL)
			return NULL;
		memset(p, 1, n);
		p = hak_realloc(p, 2 * n);
		if (p == NULL || p[n - 1] != 1)
			return NULL;
		hak_free(p);
	}
	return &strlen;
}

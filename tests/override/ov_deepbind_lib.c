/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * The library of ov_deepbind.c: were RTLD_DEEPBIND in force, its malloc would be libc's. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *ov_deepbind_give(int way);
void ov_deepbind_take(void *p);
void *ov_deepbind_malloc(void);

char *ov_deepbind_give(int way)
{
	char *text = NULL;

	if (way == 0)
		return strdup("4711");
	if (way == 1)
		return asprintf(&text, "%d", 4711) > 0 ? text : NULL;
	text = malloc(5);
	return text != NULL ? strcpy(text, "4711") : NULL;
}

void ov_deepbind_take(void *p) { free(p); }

void *ov_deepbind_malloc(void) { return (void *)malloc; }

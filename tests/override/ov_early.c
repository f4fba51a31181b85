/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * malloc and free before any constructor (.preinit_array), in the first and last constructors and
 * destructors, and in exit handlers. */
#include "ov.h"

static char *kept[4];

static void use(int i)
{
	free(ov_hide(malloc(100)));
	if (kept[i] == NULL) {
		kept[i] = memset(malloc(1000), 'a' + i, 1000);
		kept[i] = realloc(kept[i], 100000);
	}
	if (kept[i] == NULL || kept[i][999] != 'a' + i)
		OV_FAIL("early block %d is lost", i);
}

static void before_all(void) { use(0); }
__attribute__((section(".preinit_array"), used)) static void (*const preinit)(void) = before_all;
__attribute__((constructor(101))) static void first(void) { use(1); }
__attribute__((constructor)) static void last(void) { use(2); }
__attribute__((destructor(101))) static void very_last(void) { free(kept[1]); }
static void at_exit(void) { free(kept[2]); }

int main(void)
{
	use(0);
	use(1);
	use(2);
	atexit(at_exit);
	free(kept[0]);
	return 0;
}

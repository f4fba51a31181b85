/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* An audit library that allocates whenever the loader calls it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <link.h>
#include <stdlib.h>
#include <sys/prctl.h>

static void *volatile kept[64];
static unsigned calls;

static void allocate(void)
{
	free(kept[calls % 64]);
	kept[calls % 64] = calloc(1, 16 + calls * 97 % 5000);
	calls++;
}

unsigned la_version(unsigned version)
{
	allocate();
	return version;
}

unsigned la_objopen(struct link_map *map, Lmid_t id, uintptr_t *cookie)
{
	(void)map, (void)id, (void)cookie;
	allocate();
	return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}

unsigned la_objclose(uintptr_t *cookie)
{
	(void)cookie;
	allocate();
	return 0;
}

void la_activity(uintptr_t *cookie, unsigned flag)
{
	(void)cookie, (void)flag;
	allocate();
}

void la_preinit(uintptr_t *cookie)
{
	(void)cookie;
	allocate();
	prctl(PR_SET_NAME, "audited");
}

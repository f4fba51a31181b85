/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* The program that neighbours_run.py looks at with its tools; linked with the library.
 *
 *     work   blocks of every kind, in two threads, all freed
 *     spin   small blocks, for half a second of processor time
 *     dump   some live, much freed; says how many KiB of memory it has, and aborts
 *     wait   the same, and waits to be killed */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "door.h"

#define LARGE 40u
#define SMALL 20000u

void trap_look_here(void *block);

/* Where the debugger stops. */
T_NOINLINE void trap_look_here(void *block) { __asm__ volatile("" : : "r"(block) : "memory"); }

static void *work(void *arg)
{
	static void *_Atomic handed;
	char *p = NULL;

	for (size_t size = 1; size < 3 * T_MiB; size = size * 2 + 1) {
		char *q = T_CALLOC(1, size), *r = T_ALIGNED_ALLOC(256, 256 * (size / 256 + 1));

		t_need(q != NULL && r != NULL && q[size - 1] == 0);
		p = T_REALLOC(p, size);
		memset(p, 1, size);
		T_FREE(atomic_exchange(&handed, (void *)q));
		T_FREE(r);
	}
	p = T_REALLOC(p, 40 * T_MiB);
	t_need(p != NULL && p[1000] == 1);
	T_FREE(p);
	T_FREE(atomic_exchange(&handed, NULL));
	return arg;
}

static void in_two_threads(void)
{
	pthread_t other = t_thread(work, NULL);
	char *p = T_MALLOC(100);

	strcpy(p, "a block");
	trap_look_here(p);
	T_FREE(p);
	trap_look_here(p);
	work(NULL);
	t_join(other);
}

static void spin(void)
{
	static void *p[1000];
	uint64_t seed = 1;

	while (clock() < CLOCKS_PER_SEC / 2) {
		for (unsigned i = 0; i < 10000; i++) {
			size_t at = t_below(&seed, T_COUNT(p));

			T_FREE(p[at]);
			p[at] = T_MALLOC(t_below(&seed, 2000));
		}
	}
}

static void mostly_freed(void)
{
	static char *large[LARGE], *small[SMALL];

	for (unsigned i = 0; i < LARGE; i++)
		memset(large[i] = T_MALLOC(2 * T_MiB), 1, 2 * T_MiB);
	for (unsigned i = 0; i < SMALL; i++)
		memset(small[i] = T_MALLOC(1000), 1, 1000);
	for (unsigned i = 0; i < LARGE; i++)
		if (i % 10 != 0)
			T_FREE(large[i]);
	for (unsigned i = 0; i < SMALL; i++)
		if (i % 10 != 0 || i > SMALL / 2)
			T_FREE(small[i]);
	printf("live %zu anonymous %zu\n", t_live() / T_KiB, t_status_kib("RssAnon"));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	t_need(argc == 2);
	if (strcmp(argv[1], "work") == 0) {
		in_two_threads();
	} else if (strcmp(argv[1], "spin") == 0) {
		spin();
	} else {
		mostly_freed();
		if (strcmp(argv[1], "dump") == 0)
			abort();
		pause();
	}
	return 0;
}

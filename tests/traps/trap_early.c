/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* malloc, calloc, realloc, aligned_alloc, free and free(NULL) from the program's IRELATIVE resolvers,
 * .preinit_array, constructors of every priority, exit handlers and destructors. Blocks of each stage
 * live until the end. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "door.h"

enum { RESOLVER, PREINIT, FIRST, MIDDLE, LAST, MAIN, HANDLER, STAGES };

static const size_t sizes[] = { 1, 100, 1024, 5000, 100000, 2 * T_MiB };
static unsigned char *kept[STAGES][T_COUNT(sizes)];

/* No check of the harness before main: resolvers run when not everything is relocated. */
static void use(unsigned stage)
{
	free(NULL);
	for (size_t i = 0; i < T_COUNT(sizes); i++) {
		unsigned char *p = t_launder(calloc(2, sizes[i])), *q;

		if (p == NULL || p[0] != 0 || p[2 * sizes[i] - 1] != 0)
			_exit(10 + (int)stage);
		p[0] = p[sizes[i] - 1] = (unsigned char)(stage + 1);
		q = t_launder(malloc(sizes[i]));
		if (q == NULL)
			_exit(20 + (int)stage);
		free(q);
		p = t_launder(realloc(p, sizes[i]));
		if (p == NULL || p[0] != stage + 1)
			_exit(30 + (int)stage);
		free(t_launder(aligned_alloc(64, 64 + sizes[i] / 64 * 64)));
		kept[stage][i] = p;
	}
}

static void give_back(unsigned stage)
{
	for (size_t i = 0; i < T_COUNT(sizes); i++) {
		t_need(kept[stage][i] != NULL);
		t_need(kept[stage][i][0] == stage + 1 && kept[stage][i][sizes[i] - 1] == stage + 1);
		free(kept[stage][i]);
	}
}

static int answer(void) { return 42; }

__attribute__((used)) static int (*resolve(void))(void) /* clang does not see that it is */
{
	use(RESOLVER);
	return answer;
}
int resolved(void) __attribute__((ifunc("resolve")));

static void before_all(void) { use(PREINIT); }
__attribute__((section(".preinit_array"), used)) static void (*const preinit)(void) = before_all;
__attribute__((constructor(101))) static void first(void) { use(FIRST); }
__attribute__((constructor(5000))) static void middle(void) { use(MIDDLE); }
__attribute__((constructor)) static void last(void) { use(LAST); }

static void handler(void)
{
	use(HANDLER);
	give_back(MAIN);
}

/* The last of the program: exit with success only from here. */
__attribute__((destructor(101))) static void very_last(void)
{
	for (unsigned stage = RESOLVER; stage < STAGES; stage++)
		if (stage != MAIN)
			give_back(stage);
	_exit(0);
}

int main(void)
{
	struct hak_stats s;

	t_need(resolved() == 42);
	T_STATS_GET(&s);
	t_equal(s.heaps_running, 1); /* the resolvers' is main's */
	use(MAIN);
	t_need(t_failures() == 0 && atexit(handler) == 0);
	return 9;
}

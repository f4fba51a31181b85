/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Two threads free one large block at the same instant: one of them must end the process. */
#include <sched.h>
#include <stdatomic.h>

#include "abort.h"
#include "door.h"

static _Atomic unsigned ready, freed;
static unsigned
	delay; /* who is there last goes first, by the time that its word takes to the other */

static void *race(void *p)
{
	bool is_last;

	T_FREE(T_MALLOC(2 * T_MiB)); /* a thread that has its heap, and has freed a span before */
	is_last = atomic_fetch_add(&ready, 1) == 1;
	while (atomic_load_explicit(&ready, memory_order_relaxed) < 2)
		;
	for (volatile unsigned n = is_last ? delay : 0; n > 0; n--)
		;
	T_FREE(p);
	__asm__ volatile("");
	atomic_fetch_add(&freed, 1);
	return NULL;
}

static void free_by_two(void *p)
{
	pthread_t other = t_thread(race, p);

	race(p);
	t_join(other);
}

static void at_once(unsigned rounds, size_t size, const char *text)
{
	for (unsigned i = 0; i < t_scale(rounds, 10); i++) {
		void *p = T_MALLOC(size);

		t_need(p != NULL);
		delay = i % 120;
		must_abort(free_by_two, p, text);
		T_FREE(p);
	}
}

static void spans(void) { at_once(400, T_MiB, "hakmem: free(): 0x"); }
static void huge_blocks(void) { at_once(60, 64 * T_MiB, "hakmem: free(): 0x"); }

int main(int argc, char **argv)
{
	static const struct t_case cases[] = { T_CASE(spans), T_CASE(huge_blocks) };

	return t_main(argc, argv, cases, T_COUNT(cases));
}

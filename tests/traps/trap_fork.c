/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* fork while eight threads create threads, allocate huge blocks and free what others allocated. The
 * child allocates, frees what the parent allocated, forks again: nothing hangs, nothing crashes, and
 * no memory is lost but what a thread had in its hand.
 *
 * trap_fork [-n forks] [case …] */
#include <string.h>

#define FORK_BUSY   8u
#define FORK_OWNED  60u
#define FORK_CHURN  100u
#define FORK_NAP_US 300u
#define FORK_HUGE   1
#include "fork_load.h"

#if defined(T_DOOR_PRELOAD)
#define T_WALK(fn, arg)                                                                            \
	T_LOOKED_UP(bool (*)(hak_heap *, hak_walk_fn, void *), "hak_heap_walk")(NULL, fn, arg)
#else
#define T_WALK(fn, arg) hak_heap_walk(NULL, fn, arg)
#endif

static unsigned forks = 2000;

/* ---- What a process has ---- */

#define HEAPS 64u

struct tally {
	size_t blocks, bytes;
	unsigned of_heap[HEAPS]; /* by id, the last for all above */
};

static bool add(const struct hak_block_info *block, void *arg)
{
	struct tally *t = arg;

	t->blocks++;
	t->bytes += block->usable;
	t->of_heap[block->heap_id < HEAPS ? block->heap_id : HEAPS - 1]++;
	return true;
}

static struct tally count_blocks(void)
{
	struct tally t = { .blocks = 0 };

	T_TRIM();
	t_need(T_WALK(add, &t));
	return t;
}

/* Committed memory that is in no block. */
static size_t idle_bytes(const struct tally *t)
{
	struct hak_stats s;

	T_STATS_GET(&s);
	return s.committed > t->bytes ? s.committed - t->bytes : 0;
}

/* A thread may have one block in its hand, and has one of the C library's for its thread-local
 * storage; there are FORK_BUSY, and as many that these have created. */
#define LOST_MOST ((size_t)2 * 2 * FORK_BUSY)

static void check_nothing_is_lost(size_t blocks_before)
{
	struct tally t;

	fork_empty_slots();
	t = count_blocks();
	if (t.blocks <= blocks_before + LOST_MOST)
		return;
	for (unsigned id = 0; id < HEAPS; id++)
		if (t.of_heap[id] != 0)
			t_say("heap %u: %u blocks", id, t.of_heap[id]);
	t_check_at(false, t.blocks - blocks_before);
}

static size_t blocks_before;

static void look_for_losses(unsigned number)
{
	if (number % 4 == 2)
		check_nothing_is_lost(blocks_before);
}

static void child_of_busy_threads(void)
{
	blocks_before = count_blocks().blocks;
	fork_start_busy();
	fork_often((unsigned)t_scale(forks, 100), look_for_losses);
	fork_stop_busy();
}

static unsigned last_generation;

static void look_at_generation(unsigned depth)
{
	static size_t first;
	struct tally t = count_blocks();

	if (depth == 0)
		first = t.blocks;
	t_check_at(t.blocks <= first + depth * LOST_MOST, t.blocks);
	t_check_at(idle_bytes(&t) <= 2 * T_MiB + t.blocks * 128 * T_KiB, idle_bytes(&t));
	if (depth + 1 == last_generation)
		t_say("%u generations: %zu blocks, %zu KiB more than they hold", last_generation,
		      t.blocks, idle_bytes(&t) / T_KiB);
}

/* In each only what was in a hand is lost, and with such a block at most the slab that it lies in
 * can't be given back. */
static void generations(void)
{
	last_generation = (unsigned)t_scale(40, 10);
	fork_generations(last_generation, 5, look_at_generation);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(child_of_busy_threads),
		T_CASE(generations), /* the last: children do not return from it */
	};

	if (argc > 2 && strcmp(argv[1], "-n") == 0) {
		forks = (unsigned)strtoul(argv[2], NULL, 10);
		argv[2] = argv[0];
		argc -= 2;
		argv += 2;
	}
	return t_main(argc, argv, cases, T_COUNT(cases));
}

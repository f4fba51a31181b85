/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* fork while eight threads create threads, allocate huge blocks and free what others allocated. The
 * child allocates, frees what the parent allocated, forks again: nothing hangs, nothing crashes, and
 * no memory is lost but what a thread had in its hand.
 *
 * trap_fork [-n forks] [case …] */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "door.h"

#define BUSY          8u
#define SLOTS         300u
#define OWNED         60u
#define CHILD_SECONDS 60u /* a child that hangs is ended by SIGALRM */
#define HUGE_BYTES    (40 * T_MiB)

#if defined(T_DOOR_PRELOAD)
#define T_WALK(fn, arg)                                                                            \
	T_LOOKED_UP(bool (*)(hak_heap *, hak_walk_fn, void *), "hak_heap_walk")(NULL, fn, arg)
#else
#define T_WALK(fn, arg) hak_heap_walk(NULL, fn, arg)
#endif

static unsigned forks = 2000;
static _Atomic(void *) slot[SLOTS];
static _Atomic bool stop;

static size_t some_size(uint64_t *seed)
{
	size_t r = t_below(seed, 1000);

	if (r == 0)
		return HUGE_BYTES + t_below(seed, 4 * T_MiB);
	return 8 + t_below(seed, r < 700 ? 300 : r < 900 ? 5000 : r < 980 ? 100000 : 2 * T_MiB);
}

/* Allocates, and frees what other threads have allocated. */
static void churn(uint64_t *seed, size_t operations)
{
	for (size_t i = 0; i < operations; i++) {
		size_t n = some_size(seed);
		uint64_t *p = T_MALLOC(n);

		t_need(p != NULL);
		*p = n;
		p = atomic_exchange(&slot[t_below(seed, SLOTS)], p);
		t_need(p == NULL || T_USABLE(p) >= *p);
		T_FREE(p);
	}
}

static void *short_life(void *arg)
{
	uint64_t seed = (uintptr_t)arg;

	churn(&seed, 40);
	return NULL;
}

static void *busy(void *arg)
{
	uint64_t seed = (uintptr_t)arg;

	/* A breath now and then, so that two processors are enough for parent, child and these. */
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		churn(&seed, 100);
		if (t_below(&seed, 4) == 0)
			t_join(t_thread(short_life, (void *)(uintptr_t)t_random(&seed)));
		usleep(300);
	}
	return NULL;
}

static pthread_t busy_thread[BUSY];

static void start_busy(void)
{
	atomic_store(&stop, false);
	for (unsigned i = 0; i < BUSY; i++)
		busy_thread[i] = t_thread(busy, (void *)(uintptr_t)(i + 1));
}

static void empty_slots(void)
{
	for (unsigned i = 0; i < SLOTS; i++)
		T_FREE(atomic_exchange(&slot[i], NULL));
}

static void stop_busy(void)
{
	atomic_store(&stop, true);
	for (unsigned i = 0; i < BUSY; i++)
		t_join(busy_thread[i]);
	empty_slots();
}

static void wait_for(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		t_need(errno == EINTR);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		t_say("child ended with wait status 0x%x", (unsigned)status);
		t_fatal(__FILE__, __LINE__, "a forked child works");
	}
}

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
 * storage; there are BUSY, and as many that these have created. */
#define LOST_MOST ((size_t)2 * 2 * BUSY)

static void check_nothing_is_lost(size_t blocks_before)
{
	struct tally t;

	empty_slots();
	t = count_blocks();
	if (t.blocks <= blocks_before + LOST_MOST)
		return;
	for (unsigned id = 0; id < HEAPS; id++)
		if (t.of_heap[id] != 0)
			t_say("heap %u: %u blocks", id, t.of_heap[id]);
	t_check_at(false, t.blocks - blocks_before);
}

/* ---- The child ---- */

__attribute__((noreturn)) static void child(unsigned number, void **own, size_t blocks_before)
{
	uint64_t seed = number;

	alarm(CHILD_SECONDS);
	for (size_t i = 0; i < OWNED; i++) {
		t_need(t_holds(own[i], 16 + i * 37, 16 + i * 37, i));
		if (i % 3 == 0)
			own[i] = T_REALLOC(own[i], 5000);
		T_FREE(own[i]);
	}
	churn(&seed, 100);
	for (unsigned depth = 0; number % 20 == 0 && depth < 3; depth++) {
		pid_t pid = fork();

		t_need(pid >= 0);
		if (pid != 0) {
			wait_for(pid);
			break;
		}
		alarm(CHILD_SECONDS);
		churn(&seed, 100);
	}
	if (number % 20 == 1)
		t_join(t_thread(short_life, (void *)77));
	if (number % 4 == 2)
		check_nothing_is_lost(blocks_before);
	_exit(t_failures() == 0 ? 0 : 1);
}

static void child_of_busy_threads(void)
{
	size_t blocks_before = count_blocks().blocks, many = t_scale(forks, 100);
	uint64_t seed = 99;
	void *own[OWNED];

	start_busy();
	for (unsigned n = 0; n < many; n++) {
		pid_t pid;

		for (size_t i = 0; i < OWNED; i++) {
			own[i] = T_MALLOC(16 + i * 37);
			t_need(own[i] != NULL);
			t_fill(own[i], 16 + i * 37, i);
		}
		pid = fork();
		t_need(pid >= 0);
		if (pid == 0)
			child(n, own, blocks_before);
		churn(&seed, 20); /* parent and child at the same time */
		for (size_t i = 0; i < OWNED; i++)
			T_FREE(own[i]);
		wait_for(pid);
	}
	stop_busy();
}

/* Each forked from the last, with busy threads of its own: in each only what was in a hand is lost, and
 * with such a block at most the slab that it lies in can't be given back. */
static void generations(void)
{
	unsigned last = (unsigned)t_scale(40, 10);
	struct tally first = { .blocks = 0 };

	for (unsigned depth = 0; depth < last; depth++) {
		struct tally t;
		pid_t pid;

		start_busy();
		t_sleep_ms(5);
		pid = fork();
		t_need(pid >= 0);
		if (pid != 0) {
			stop_busy();
			wait_for(pid);
			if (depth == 0)
				return;
			_exit(t_failures() != 0);
		}
		alarm(CHILD_SECONDS);
		empty_slots();
		t = count_blocks();
		if (depth == 0)
			first = t;
		t_check_at(t.blocks <= first.blocks + depth * LOST_MOST, t.blocks);
		t_check_at(idle_bytes(&t) <= 2 * T_MiB + t.blocks * 128 * T_KiB, idle_bytes(&t));
		if (depth + 1 == last)
			t_say("%u generations: %zu blocks, %zu KiB more than they hold", last,
			      t.blocks, idle_bytes(&t) / T_KiB);
	}
	_exit(t_failures() != 0);
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

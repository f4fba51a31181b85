/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* What stays in a process that has freed everything and does nothing: by VmRSS, over what it had before.
 * It is measured right after the last free: hakmem has no helper thread by default, so a process that
 * idles for longer has the same. The bars are those of HAKMEM_PROFILE=balanced, or of lean when that is
 * in the environment. */
#include <stdlib.h>
#include <string.h>

#include "door.h"

#define GIB_BLOCK   ((size_t)1000)
#define GIB_BLOCKS  (T_GiB / GIB_BLOCK)
#define THREADS     100u
#define EACH        (64 * T_MiB)
#define AT_ONCE     4u
#define THREADS_BAR (64 * T_MiB)

static void *blocks[GIB_BLOCKS];

static bool is_lean(void)
{
	const char *profile = getenv("HAKMEM_PROFILE");

	return profile != NULL && strcmp(profile, "lean") == 0;
}

static size_t resident(void) { return t_status_kib("VmRSS") * T_KiB; }

/* So that the pages of the table are not taken for the allocator's. */
static size_t resident_with_table(void)
{
	memset(blocks, 0, sizeof(blocks));
	return resident();
}

static void check_rest(const char *what, size_t before, size_t bar)
{
	size_t now = resident(), rest = now - (now < before ? now : before);

	t_say("%s: %zu KiB stay, %zu KiB may", what, rest / T_KiB, bar / T_KiB);
	t_check_at(!T_RSS_COUNTS || rest <= bar, rest);
}

static void touch(char *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 4096)
		p[i] = 1;
}

static void *take(size_t bytes)
{
	char *p = T_MALLOC(bytes);

	t_need(p != NULL);
	touch(p, bytes);
	return p;
}

/* In another order than they were made, but for an n that is a multiple of the stride. */
static size_t shuffled(size_t i, size_t n) { return i * 7919 % n; }

static void large_blocks(void)
{
	size_t before = resident_with_table();

	for (unsigned i = 0; i < 64; i++)
		blocks[i] = take(16 * T_MiB);
	for (unsigned i = 0; i < 64; i++)
		T_FREE(blocks[i]);
	check_rest("64 blocks of 16 MiB", before, 9000000);
}

static void gib_of_small_blocks(void)
{
	size_t before = resident_with_table();

	for (size_t i = 0; i < GIB_BLOCKS; i++)
		blocks[i] = take(GIB_BLOCK);
	for (size_t i = 0; i < GIB_BLOCKS; i++)
		T_FREE(blocks[i]);
	check_rest("1 GiB of 1000-byte blocks", before, (is_lean() ? 20 : 71) * T_MiB);
}

static void gib_freed_in_disorder(void)
{
	size_t before = resident_with_table();

	for (size_t i = 0; i < GIB_BLOCKS; i++)
		blocks[i] = take(GIB_BLOCK);
	for (size_t i = 0; i < GIB_BLOCKS; i++)
		T_FREE(blocks[shuffled(i, GIB_BLOCKS)]);
	check_rest("the same, freed in disorder", before, (is_lean() ? 20 : 71) * T_MiB);
}

/* Nine in ten of blocks of all sizes freed at random: at most twice what is live stays, and a tenth; in lean
 * a quarter more than what is live. */
static void scattered_blocks(void)
{
	size_t before = resident_with_table(), n = 0, live = 0, kept = 0;
	uint64_t seed = 1;

	for (; live < T_GiB / 2; n++) {
		size_t bytes = 16 + t_below(&seed, 64 * T_KiB - 15);

		blocks[n] = take(bytes);
		memcpy(blocks[n], &bytes, sizeof(bytes));
		live += bytes;
	}
	for (size_t i = 0; i < n; i++) {
		if (t_below(&seed, 10) != 0) {
			T_FREE(blocks[i]);
		} else {
			kept += *(size_t *)blocks[i];
			blocks[i] = NULL;
		}
	}
	check_rest("a tenth of 512 MiB", before, is_lean() ? kept / 4 * 5 : kept / 10 * 21);
}

/* ---- A thread that died ---- */

#define DEAD_BLOCKS 100000u

static void *fill_table(void *arg)
{
	for (size_t i = 0; i < DEAD_BLOCKS; i++)
		blocks[i] = take(1000);
	return arg;
}

static void *empty_table(void *arg)
{
	for (size_t i = 0; i < DEAD_BLOCKS; i++)
		T_FREE(blocks[i]);
	return arg;
}

static void blocks_of_a_dead_thread(void)
{
	size_t before = resident_with_table();
	pthread_t idle;

	t_join(t_thread(fill_table, NULL));
	idle = t_thread(empty_table, NULL);
	t_join(idle);
	check_rest("100 MB of a thread that died", before, 20000000);
}

/* ---- Threads that sleep ---- */

/* Thirteen sizes in turn: 64 MiB in all are that many. */
#define MIXED 6657u
static size_t mixed_size(size_t i) { return (size_t)16 << i * 7919 % 13; }

struct kind {
	const char *what;
	size_t bytes; /* 0: mixed_size */
	bool in_disorder;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool taken[AT_ONCE]; /* that part of the table */
static unsigned done;
static bool over;

static unsigned free_part(void)
{
	unsigned part = 0;

	while (part < AT_ONCE && taken[part])
		part++;
	return part;
}

static unsigned wait_for_turn(void)
{
	unsigned part;

	pthread_mutex_lock(&mutex);
	while ((part = free_part()) == AT_ONCE)
		pthread_cond_wait(&changed, &mutex);
	taken[part] = true;
	pthread_mutex_unlock(&mutex);
	return part;
}

static void sleep_until_over(unsigned part)
{
	pthread_mutex_lock(&mutex);
	taken[part] = false;
	done++;
	pthread_cond_broadcast(&changed);
	while (!over)
		pthread_cond_wait(&changed, &mutex);
	pthread_mutex_unlock(&mutex);
}

static void *use_once(void *arg)
{
	const struct kind *kind = arg;
	size_t n = kind->bytes != 0 ? EACH / kind->bytes : MIXED;
	unsigned part = wait_for_turn();
	void **p = blocks + part * (GIB_BLOCKS / AT_ONCE);

	for (size_t i = 0; i < n; i++)
		p[i] = take(kind->bytes != 0 ? kind->bytes : mixed_size(i));
	for (size_t i = 0; i < n; i++)
		T_FREE(p[kind->in_disorder ? shuffled(i, n) : i]);
	sleep_until_over(part);
	return NULL;
}

static void run_threads(const struct kind *kind)
{
	size_t before = resident_with_table();
	pthread_t thread[THREADS];

	done = 0;
	over = false;
	for (unsigned i = 0; i < THREADS; i++)
		thread[i] = t_thread(use_once, (void *)(uintptr_t)kind);
	pthread_mutex_lock(&mutex);
	while (done != THREADS)
		pthread_cond_wait(&changed, &mutex);
	check_rest(kind->what, before, THREADS_BAR);
	over = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mutex);
	for (unsigned i = 0; i < THREADS; i++)
		t_join(thread[i]);
}

static void threads_1000(void)
{
	static const struct kind kind = { "100 threads, 1000 bytes", 1000, false };

	run_threads(&kind);
}

static void threads_1000_in_disorder(void)
{
	static const struct kind kind = { "100 threads, 1000 bytes in disorder", 1000, true };

	run_threads(&kind);
}

static void threads_20k(void)
{
	static const struct kind kind = { "100 threads, 20,000 bytes in disorder", 20000, true };

	run_threads(&kind);
}

static void threads_mixed(void)
{
	static const struct kind kind = { "100 threads, 16 bytes to 64 KiB in disorder", 0, true };

	run_threads(&kind);
}

static void threads_1m(void)
{
	static const struct kind kind = { "100 threads, 1 MiB", T_MiB, false };

	run_threads(&kind);
}

static void threads_64m(void)
{
	static const struct kind kind = { "100 threads, 64 MiB", EACH, false };

	run_threads(&kind);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(large_blocks),
		T_CASE(gib_of_small_blocks),
		T_CASE(gib_freed_in_disorder),
		T_CASE(scattered_blocks),
		T_CASE(blocks_of_a_dead_thread),
		T_CASE(threads_1000),
		T_CASE(threads_1000_in_disorder),
		T_CASE(threads_20k),
		T_CASE(threads_mixed),
		T_CASE(threads_1m),
		T_CASE(threads_64m),
	};

	return t_main(argc, argv, cases, T_COUNT(cases));
}

/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * glibc's introspection tells the truth under LD_PRELOAD: mallinfo2 against the blocks that the program
 * holds, malloc_trim against the memory that the process has. `info FILE` writes malloc_info's document,
 * for a real parser (introspect_run.py). */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "door.h"

#define SLOTS   400000u
#define PERCENT 5

static uint64_t seed = 3;
static void *slot[SLOTS];
static size_t slots;

static void fill(size_t bytes, size_t least, size_t most)
{
	for (size_t sum = 0; sum < bytes;) {
		size_t n = least + t_below(&seed, most - least + 1);
		void *p = T_MALLOC(n);

		t_need(slots < SLOTS && p != NULL);
		slot[slots++] = memset(p, 1, malloc_usable_size(p));
		sum += n;
	}
}

static void free_share(unsigned percent)
{
	size_t kept = 0;

	for (size_t i = 0; i < slots; i++) {
		if (t_below(&seed, 100) < percent)
			free(slot[i]);
		else
			slot[kept++] = slot[i];
	}
	slots = kept;
}

static size_t usable(void)
{
	size_t sum = 0;

	for (size_t i = 0; i < slots; i++)
		sum += malloc_usable_size(slot[i]);
	return sum;
}

/* Rss, exactly: the kernel's quick counters lag. */
static size_t rss(void)
{
	char text[4096];
	int fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);
	char *at;

	t_need(n > 0);
	close(fd);
	text[n] = 0;
	at = strstr(text, "\nRss:");
	t_need(at != NULL);
	return strtoul(at + 5, NULL, 10) * T_KiB;
}

static bool is_near(size_t got, size_t want)
{
	return got + want * PERCENT / 100 >= want && got <= want + want * PERCENT / 100;
}

/* mallinfo2, and what malloc_stats prints. */
static void tells(const char *shape, size_t want)
{
	struct mallinfo2 m = mallinfo2();
	size_t got = m.uordblks + m.hblkhd;

	if (!is_near(got, want)) {
		t_say("%s: %zu KiB in use, of %zu", shape, got / T_KiB, want / T_KiB);
		t_check(!"mallinfo2 is within five percent");
	}
	t_equal(m.arena, m.uordblks + m.fordblks);
	t_check_at(m.keepcost <= m.fordblks, m.keepcost);
}

static void one_thread(void)
{
	fill(60 * T_MiB, 16, 1500);
	tells("small", usable());
	free_share(90);
	tells("small, 90% freed", usable());
	fill(60 * T_MiB, 2000, 200000);
	tells("middle", usable());
	free_share(50);
	tells("middle, half freed", usable());
	fill(100 * T_MiB, 300 * T_KiB, 6 * T_MiB);
	tells("large", usable());
	free_share(70);
	tells("large, 70% freed", usable());
	fill(120 * T_MiB, 33 * T_MiB, 40 * T_MiB);
	tells("huge", usable());
	t_check(mallinfo2().hblks >= 3 && mallinfo2().hblkhd >= 100 * T_MiB);
	free_share(100);
	fill(20 * T_MiB, 100, 100);
	tells("little is left", usable());
	malloc_trim(0);
	tells("and after a trim", usable());
	free_share(100);
}

enum { THREADS = 8, EACH = 12000 };
static void *given[THREADS][EACH];
static pthread_barrier_t barrier;

static void *work(void *arg)
{
	size_t me = (size_t)(uintptr_t)arg;
	uint64_t own = me;

	for (size_t i = 0; i < EACH; i++)
		given[me][i] = T_MALLOC(16 + t_below(&own, 1800));
	pthread_barrier_wait(&barrier);
	for (size_t i = 0; i < EACH; i += 2) {
		free(given[(me + 1) % THREADS][i]);
		free(T_MALLOC(16 + t_below(&own, 20000)));
		given[(me + 1) % THREADS][i] = NULL;
	}
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier); /* main looks */
	return NULL;
}

static size_t given_usable(void)
{
	size_t sum = 0;

	for (size_t t = 0; t < THREADS; t++)
		for (size_t i = 0; i < EACH; i++)
			sum += given[t][i] != NULL ? malloc_usable_size(given[t][i]) : 0;
	return sum;
}

static void several_threads(void)
{
	pthread_t thread[THREADS];

	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	for (size_t i = 0; i < THREADS; i++)
		thread[i] = t_thread(work, (void *)(uintptr_t)i);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	tells("eight threads", given_usable());
	pthread_barrier_wait(&barrier);
	for (size_t i = 0; i < THREADS; i++)
		t_join(thread[i]);
	tells("eight dead threads", given_usable());
	for (size_t t = 0; t < THREADS; t++)
		for (size_t i = 0; i < EACH; i++)
			free(given[t][i]);
}

/* One trim, by the one door or by the other. */
static void trims(const char *shape, size_t base, bool by_count)
{
	size_t before = rss(), given_back = 0, after;
	int said = 1;

	if (by_count)
		given_back = T_TRIM();
	else
		said = malloc_trim(0);
	after = rss();
	t_check_at(before > after + T_MiB, before - after);
	t_equal(said, 1);
	if (by_count && !is_near(given_back, before - after)) {
		t_say("%s: %zu KiB given back, %zu said", shape, (before - after) / T_KiB,
		      given_back / T_KiB);
		t_check(!"hak_trim's count is within five percent");
	}
	/* tables and a few part-used slabs are all that is left beside the blocks */
	if (after > base + usable() + 6 * T_MiB) {
		t_say("%s: %zu KiB left, %zu live", shape, (after - base) / T_KiB,
		      usable() / T_KiB);
		t_check(!"little is left after a trim");
	}
	t_equal(malloc_trim(0), 0);
	t_equal(T_TRIM(), 0);
	t_check_at(rss() <= after + 64 * T_KiB, rss() - after);
}

static void trim_gives_all_back(void)
{
	static const struct {
		const char *name;
		size_t least, most;
	} shapes[] = {
		{ "tiny", 16, 400 },
		{ "small", 400, 4000 },
		{ "slabs with tails", 5000, 6144 },
		{ "middle", 20000, 20480 },
		{ "large", 100000, 4 * T_MiB },
		{ "huge", 33 * T_MiB, 35 * T_MiB },
	};
	size_t base;

	free_share(100);
	malloc_trim(0);
	base = rss();
	for (unsigned i = 0; i < T_COUNT(shapes); i++) {
		fill(40 * T_MiB, 1000, 1000); /* what stays, and gives the bound its share */
		size_t kept = slots;

		for (unsigned by_count = 0; by_count < 2; by_count++) {
			fill(60 * T_MiB, shapes[i].least, shapes[i].most);
			while (slots > kept)
				free(slot[--slots]);
			trims(shapes[i].name, base, by_count);
		}
		free_share(100);
		trims("all freed", base, i % 2);
	}
}

/* Blocks that are left here and there don't keep the pages of those that are free. */
static void trim_of_part_used_slabs(void)
{
	size_t base, before, after;

	malloc_trim(0);
	base = rss();
	fill(60 * T_MiB, 5000, 40000);
	free_share(90);
	trims("middle, 90% freed", base, false);
	free_share(100);
	malloc_trim(0);
	fill(60 * T_MiB, 500, 2000);
	free_share(95);
	before = rss();
	t_equal(malloc_trim(0), 1);
	after = rss();
	t_check_at(after - base < (before - base) / 2, after - base);
	tells("holes", usable());
	fill(60 * T_MiB, 500, 2000);
	tells("holes that are filled again", usable());
	free_share(100);
	malloc_trim(0);
}

/* 1 exactly when pages went back. */
static void trim_says_so(void)
{
	unsigned yes = 0, no = 0;

	fill(20 * T_KiB, 16, 3000);
	malloc_trim(0);
	for (unsigned i = 0; i < 300; i++) {
		size_t before, after;
		int said;

		if (t_below(&seed, 2))
			fill(1, 16, 400000);
		if (slots != 0 && t_below(&seed, 2)) {
			size_t one = t_below(&seed, slots);

			free(slot[one]);
			slot[one] = slot[--slots];
		}
		before = rss();
		said = malloc_trim(0);
		after = rss();
		t_check_at((said == 1) == (after < before) && (said == 0 || said == 1), i);
		*(said ? &yes : &no) += 1;
	}
	t_check_at(yes > 20 && no > 20, yes);
	free_share(100);
}

static void write_info(const char *file)
{
	FILE *f = fopen(file, "w");

	fill(30 * T_MiB, 16, 100000);
	fill(50 * T_MiB, 40 * T_MiB, 40 * T_MiB);
	free_share(30);
	t_need(f != NULL && malloc_info(0, f) == 0);
	fclose(f);
	malloc_stats();
	printf("%zu\n", usable());
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(one_thread),          T_CASE(several_threads),
		T_CASE(trim_gives_all_back), T_CASE(trim_of_part_used_slabs),
		T_CASE(trim_says_so),
	};

	if (argc == 3 && strcmp(argv[1], "info") == 0) {
		write_info(argv[2]);
		return 0;
	}
	return t_main(argc, argv, cases, T_COUNT(cases));
}

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
#include "held_blocks.h"

#define PERCENT 5

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
	held_fill(60 * T_MiB, 16, 1500);
	tells("small", held_usable());
	held_free(90);
	tells("small, 90% freed", held_usable());
	held_fill(60 * T_MiB, 2000, 200000);
	tells("middle", held_usable());
	held_free(50);
	tells("middle, half freed", held_usable());
	held_fill(100 * T_MiB, 300 * T_KiB, 6 * T_MiB);
	tells("large", held_usable());
	held_free(70);
	tells("large, 70% freed", held_usable());
	held_fill(120 * T_MiB, 33 * T_MiB, 40 * T_MiB);
	tells("huge", held_usable());
	t_check(mallinfo2().hblks >= 3 && mallinfo2().hblkhd >= 100 * T_MiB);
	held_free(100);
	held_fill(20 * T_MiB, 100, 100);
	tells("little is left", held_usable());
	malloc_trim(0);
	tells("and after a trim", held_usable());
	held_free(100);
}

static void several_threads(void)
{
	held_start_threads();
	tells("eight threads", held_by_usable());
	held_end_threads();
	tells("eight dead threads", held_by_usable());
	held_by_free();
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
	if (after > base + held_usable() + 6 * T_MiB) {
		t_say("%s: %zu KiB left, %zu live", shape, (after - base) / T_KiB,
		      held_usable() / T_KiB);
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

	held_free(100);
	malloc_trim(0);
	base = rss();
	for (unsigned i = 0; i < T_COUNT(shapes); i++) {
		held_fill(40 * T_MiB, 1000, 1000); /* what stays, and gives the bound its share */
		size_t kept = held_count;

		for (unsigned by_count = 0; by_count < 2; by_count++) {
			held_fill(60 * T_MiB, shapes[i].least, shapes[i].most);
			while (held_count > kept)
				free(held[--held_count]);
			trims(shapes[i].name, base, by_count);
		}
		held_free(100);
		trims("all freed", base, i % 2);
	}
}

/* Blocks that are left here and there don't keep the pages of those that are free. */
static void trim_of_part_used_slabs(void)
{
	size_t base, before, after;

	malloc_trim(0);
	base = rss();
	held_fill(60 * T_MiB, 5000, 40000);
	held_free(90);
	trims("middle, 90% freed", base, false);
	held_free(100);
	malloc_trim(0);
	held_fill(60 * T_MiB, 500, 2000);
	held_free(95);
	before = rss();
	t_equal(malloc_trim(0), 1);
	after = rss();
	t_check_at(after - base < (before - base) / 2, after - base);
	tells("holes", held_usable());
	held_fill(60 * T_MiB, 500, 2000);
	tells("holes that are filled again", held_usable());
	held_free(100);
	malloc_trim(0);
}

/* 1 exactly when pages went back. */
static void trim_says_so(void)
{
	unsigned yes = 0, no = 0;

	held_fill(20 * T_KiB, 16, 3000);
	malloc_trim(0);
	for (unsigned i = 0; i < 300; i++) {
		size_t before, after;
		int said;

		if (t_below(&held_seed, 2))
			held_fill(1, 16, 400000);
		if (held_count != 0 && t_below(&held_seed, 2)) {
			size_t one = t_below(&held_seed, held_count);

			free(held[one]);
			held[one] = held[--held_count];
		}
		before = rss();
		said = malloc_trim(0);
		after = rss();
		t_check_at((said == 1) == (after < before) && (said == 0 || said == 1), i);
		*(said ? &yes : &no) += 1;
	}
	t_check_at(yes > 20 && no > 20, yes);
	held_free(100);
}

static void write_info(const char *file)
{
	FILE *f = fopen(file, "w");

	held_fill(30 * T_MiB, 16, 100000);
	held_fill(50 * T_MiB, 40 * T_MiB, 40 * T_MiB);
	held_free(30);
	t_need(f != NULL && malloc_info(0, f) == 0);
	fclose(f);
	malloc_stats();
	printf("%zu\n", held_usable());
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

/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * hak_stats' `resident` against the kernel's count of the pages in hakmem's own ranges, within two
 * percent, in heaps of 100 MB and more, every byte written. Linked with the library's objects, to know
 * the ranges: the arena's mapped units, huge ranges, tables and records. */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "heap/heap.h"
#include "held_blocks.h"
#include "observe/stats.h"
#include "os/os.h"
#include "superslab/arena.h"
#include "superslab/registry.h"

#define PERCENT 2

/* ---- What the kernel says ---- */

struct range {
	uintptr_t start, end;
};

static struct range ranges[1 << 16];
static size_t count;

static void add(const void *p, size_t bytes)
{
	uintptr_t page = hk_os_page(), start = (uintptr_t)p & -page;
	uintptr_t end = ((uintptr_t)p + bytes + page - 1) & -page;

	if (count != 0 && ranges[count - 1].end == start) {
		ranges[count - 1].end = end;
		return;
	}
	t_need(count < T_COUNT(ranges));
	ranges[count++] = (struct range){ start, end };
}

static void add_units(hk_unit unit, hk_unit end)
{
	for (; unit < end; unit++) {
		if (hk_page_word(unit) != 0)
			add(hk_arena_address(unit), HK_UNIT_BYTES);
	}
}

static bool add_huge(struct hk_huge *e, void *arg)
{
	(void)arg;
	add((void *)e->address, e->bytes);
	return false;
}

static void add_arenas(void)
{
	add_units(0, hk_arena_end());
	add_units(HK_ARENA_UNITS, HK_ARENA_UNITS + hk_arena_windows() * HK_WINDOW_UNITS);
}

static void add_metadata(void)
{
	add(hk_page_map, sizeof(hk_page_map));
	add(hk_ss_table, sizeof(hk_ss_table));
	add(hk_heap_table, sizeof(hk_heap_table));
	for (hk_unit u = 0; u < hk_arena_end(); u += HK_SS_UNITS) {
		if (hk_ss_of(u) != NULL)
			add(hk_ss_of(u), sizeof(struct hk_superslab));
	}
	for (uint32_t id = HK_FIRST_ID; id < hk_heap_ids(); id++)
		add(hk_heap_by_id(id), sizeof(struct hk_heap));
}

static int compare(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* Insertion sort would be enough, but for many threads; qsort may allocate, and so is not used. */
static void sort(void)
{
	for (size_t gap = count / 2; gap != 0; gap /= 2) {
		for (size_t i = gap; i < count; i++) {
			struct range r = ranges[i];
			size_t j = i;

			for (; j >= gap && compare(&ranges[j - gap], &r) > 0; j -= gap)
				ranges[j] = ranges[j - gap];
			ranges[j] = r;
		}
	}
}

/* Pages that are present and this process's alone: not the page of zeros, which counts as nothing. */
static size_t present(int pagemap, uintptr_t start, uintptr_t end)
{
	static uint64_t entries[4096];
	size_t page = hk_os_page(), sum = 0;

	while (start < end) {
		size_t n = (end - start) / page;
		ssize_t got;

		n = n < T_COUNT(entries) ? n : T_COUNT(entries);
		got = pread(pagemap, entries, n * 8, (off_t)(start / page * 8));
		t_need(got > 0 && got % 8 == 0);
		for (ssize_t i = 0; i < got / 8; i++)
			sum += (entries[i] >> 63 & entries[i] >> 56 & 1) != 0;
		start += (size_t)got / 8 * page;
	}
	return sum * page;
}

static size_t present_in_all(void)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uintptr_t done = 0;
	size_t sum = 0;

	t_need(pagemap >= 0);
	sort();
	for (size_t i = 0; i < count; i++) {
		uintptr_t start = ranges[i].start < done ? done : ranges[i].start;

		if (start < ranges[i].end) {
			sum += present(pagemap, start, ranges[i].end);
			done = ranges[i].end;
		}
	}
	close(pagemap);
	return sum;
}

static size_t kernel_resident(void)
{
	count = 0;
	add_arenas();
	hk_registry_lock();
	hk_registry_each(add_huge, NULL);
	hk_registry_unlock();
	add_metadata();
	return present_in_all();
}

/* Rss of the mappings in smaps that the arena fills whole: the same by the kernel's other book. */
static void smaps_agree(void)
{
	static char text[4 << 20];
	int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
	size_t used = 0, rss = 0, pages = 0;
	uintptr_t start = 0, end = 0;
	ssize_t got;

	while ((got = read(fd, text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)got;
	close(fd);
	text[used] = 0;
	for (char *line = text; line != NULL && *line != 0; line = strchr(line, '\n')) {
		unsigned long a, b;

		line += *line == '\n';
		if (sscanf(line, "%lx-%lx ", &a, &b) == 2) {
			start = a;
			end = b;
		} else if (strncmp(line, "Rss:", 4) == 0 &&
			   hk_arena_unit((void *)start) != HK_NO_UNIT &&
			   hk_page_word(hk_arena_unit((void *)start)) != 0) {
			size_t kib = strtoul(line + 4, NULL, 10);
			int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

			rss += kib * T_KiB;
			pages += present(pagemap, start, end);
			close(pagemap);
		}
	}
	t_check_at(rss >= 100 * T_MiB && rss <= pages + T_MiB && pages <= rss + T_MiB, rss);
}

/* ---- What hakmem says ---- */

static size_t parts(const struct hak_stats *s)
{
	return s->live + s->bins + s->ways + s->mail + s->quarantine + s->free_blocks + s->idle +
	       s->tails + s->warm + s->bigcache + s->huge_cached + s->dirty + s->lazy +
	       s->prefaulted + s->metadata;
}

static void say(const char *shape, const struct hak_stats *s, size_t rss)
{
	t_say("%s: kernel %zu KiB, hakmem %zu: live %zu bins %zu ways %zu mail %zu free %zu idle %zu "
	      "tails %zu warm %zu bigcache %zu huge %zu dirty %zu lazy %zu ahead %zu meta %zu",
	      shape, rss / T_KiB, s->resident / T_KiB, s->live / T_KiB, s->bins / T_KiB,
	      s->ways / T_KiB, s->mail / T_KiB, s->free_blocks / T_KiB, s->idle / T_KiB,
	      s->tails / T_KiB, s->warm / T_KiB, s->bigcache / T_KiB, s->huge_cached / T_KiB,
	      s->dirty / T_KiB, s->lazy / T_KiB, s->prefaulted / T_KiB, s->metadata / T_KiB);
}

static struct hak_stats agree(const char *shape)
{
	struct hak_stats s;
	size_t rss;

	hak_stats_get(&s);
	rss = kernel_resident();
	if (getenv("RESIDENT_SAY") != NULL)
		say(shape, &s, rss);
	t_equal(parts(&s), s.resident);
	t_check_at(rss >= 100 * T_MiB, rss);
	if (s.resident > rss + rss * PERCENT / 100 || rss > s.resident + rss * PERCENT / 100) {
		say(shape, &s, rss);
		t_check(!"resident within two percent");
	}
	return s;
}

/* ---- Shapes ---- */

static void clear(void)
{
	held_free(100);
	hak_option_set("PROFILE", "balanced");
	hak_trim();
}

/* hakmem's `live` is what the program holds. */
static void live_is(const struct hak_stats *s, size_t want)
{
	t_check_at(s->live >= want && s->live <= want + 64 * T_KiB, s->live - want);
}

static void small_blocks(void)
{
	struct hak_stats s;

	held_fill(120 * T_MiB, 16, 2000);
	s = agree("small, all live");
	live_is(&s, held_usable());
	smaps_agree();
	held_fill(250 * T_MiB, 16, 2000);
	held_free(90);
	s = agree("small, 90% freed at random");
	live_is(&s, held_usable());
	t_check(s.free_blocks > 100 * T_MiB);
	hak_trim();
	t_check(agree("small, and trimmed").free_blocks < s.free_blocks);
	held_fill(60 * T_MiB, 16, 2000);
	s = agree("small, and half of the holes are filled again");
	live_is(&s, held_usable());
	clear();
}

static void blocks_with_tails(void)
{
	size_t kept;
	static const size_t sizes[] = { 5120, 6144, 20480, 24576, 40960, 196608, 262144 };

	hak_option_set("PROFILE", "speed");
	held_fill(100 * T_MiB, 1000, 2000); /* what the bound has a share of */
	kept = held_count;
	for (unsigned i = 0; i < T_COUNT(sizes); i++)
		held_fill(22 * T_MiB, sizes[i], sizes[i]);
	agree("slabs whose ends fit no block");
	while (held_count > kept)
		free(held[--held_count]);
	t_check(agree("and freed: in the pool").dirty > 100 * T_MiB);
	held_fill(110 * T_MiB, 5120, 5120);
	agree("and part taken again");
	clear();
	held_fill(110 * T_MiB, 3000, 250000);
	agree("middle sizes");
	held_free(60);
	held_fill(100 * T_MiB, 3000, 250000);
	agree("middle sizes, half of them changed");
	held_fill(100 * T_MiB, 3000, 60000);
	held_free(60);
	hak_trim();
	agree("middle sizes, trimmed");
	held_fill(80 * T_MiB, 3000, 60000);
	agree("middle sizes, trimmed and filled again");
	hak_trim();
	held_free(20);
	agree("middle sizes, and some freed");
	clear();
}

static void spans(void)
{
	struct hak_stats s;

	hak_option_set("PROFILE", "speed");
	held_fill(300 * T_MiB, 300 * T_KiB, 6 * T_MiB);
	s = agree("spans");
	live_is(&s, held_usable());
	t_equal(s.span_blocks, held_count);
	held_free(40);
	s = agree("spans, 40% freed");
	live_is(&s, held_usable());
	t_check(s.bigcache > 0);
	t_check(s.dirty > 16 * T_MiB);
	clear();
}

static void huge_blocks(void)
{
	struct hak_stats s;

	hak_option_set("PROFILE", "speed");
	for (unsigned i = 0; i < 4; i++)
		held[held_count++] = held_take(40 * T_MiB + i * 5000);
	s = agree("huge");
	live_is(&s, held_usable());
	free(held[--held_count]);
	s = agree("huge, one freed");
	t_check(s.huge_cached >= 40 * T_MiB);
	hak_trim();
	s = agree("huge, and trimmed");
	t_equal(s.huge_cached, 0);
	clear();
}

static void purged(void)
{
	struct hak_stats s;
	size_t kept;

	held_fill(120 * T_MiB, 64, 4000);
	kept = held_count;
	held_fill(150 * T_MiB, 400 * T_KiB, 4 * T_MiB);
	hak_option_set("PROFILE", "lean");
	while (held_count > kept)
		free(held[--held_count]);
	s = agree("purged");
	t_check_at(s.dirty <= s.bound + 4 * T_MiB, s.dirty - s.bound);
	t_check(s.purged > 100 * T_MiB);
	hak_trim();
	agree("purged, and trimmed");
	clear();
}

static void lazily(void)
{
	size_t kept;

	held_fill(120 * T_MiB, 64, 4000);
	kept = held_count;
	held_fill(250 * T_MiB, 400 * T_KiB, 4 * T_MiB);
	hak_option_set("SS_MEM_LEAN", "1");
	hak_option_set("SS_MEM_LEAN_DECOMMIT", "FREE");
	while (held_count > kept)
		free(held[--held_count]);
	t_check(agree("given back lazily").lazy > 100 * T_MiB);
	hak_option_set("SS_MEM_LEAN_DECOMMIT", "DONTNEED");
	hak_option_set("SS_MEM_LEAN", "0");
	clear();
}

static void ahead(void)
{
	hak_option_set("SS_PREFAULT", "TOUCH");
	held_fill(110 * T_MiB, 64, 4000);
	t_check(agree("faulted in ahead").prefaulted != 0);
	hak_option_set("SS_PREFAULT", "OFF");
	clear();
}

/* Frees are counted twice, when they are sent and collected. */
static void threads(void)
{
	struct hak_stats s;

	held_start_threads();
	s = agree("eight threads");
	live_is(&s, held_by_usable());
	t_check(s.bins > 0 && s.ways > 0 && s.ways + s.mail > 0);
	held_end_threads();
	s = agree("eight dead threads");
	live_is(&s, held_by_usable());
	t_equal(s.ways, 0);
	held_by_free();
}

static void classes_add_up(void)
{
	static struct hak_class_stats c[128];
	struct hak_stats s;
	size_t n, live = 0, bins = 0, free_blocks = 0;

	held_fill(120 * T_MiB, 16, 8000);
	held_free(30);
	hak_stats_get(&s);
	n = hak_stats_classes(c, T_COUNT(c));
	t_equal(n, HK_BINS - 1);
	for (size_t i = 0; i < n; i++) {
		t_equal(c[i].carved, c[i].live + c[i].bins + c[i].ways + c[i].mail +
					     c[i].quarantine + c[i].free_blocks);
		t_check(c[i].carved <= c[i].blocks && c[i].live * c[i].size <= c[i].resident);
		t_check(i == 0 || c[i].size > c[i - 1].size);
		live += c[i].live * c[i].size;
		bins += c[i].bins * c[i].size;
		free_blocks += c[i].free_blocks * c[i].size;
	}
	t_equal(live + s.spans + s.huge, s.live);
	t_equal(bins, s.bins);
	t_equal(free_blocks, s.free_blocks + s.idle);
	t_check(s.slack_most > 0 && s.slack_most < s.live / 4);
	t_equal(hak_stats_classes(NULL, 0), n);
	clear();
}

/* ---- HAKMEM_PROFILE=hardened: no bins, canaries, quarantine ---- */

static void hardened_blocks(void)
{
	struct hak_stats s;

	held_fill(120 * T_MiB, 16, 2000);
	s = agree("hardened, all live");
	live_is(&s, held_usable());
	held_fill(130 * T_MiB, 16, 60000);
	agree("hardened, of all sizes");
	held_free(50);
	s = agree("hardened, half freed at random");
	live_is(&s, held_usable());
	t_check(s.quarantine > 0 && s.free_blocks > 20 * T_MiB);
	hak_trim();
	agree("hardened, and trimmed");
	held_fill(60 * T_MiB, 16, 60000);
	agree("hardened, and filled again");
	held_free(90);
	held_fill(70 * T_MiB, 16, 2000);
	held_free(50);
	agree("hardened, and other sizes");
	held_free(100);
	hak_trim();
}

static void hardened_threads(void)
{
	held_start_threads();
	agree("hardened, eight threads");
	held_end_threads();
	agree("hardened, eight dead threads");
	held_by_free();
}

static bool is_hardened(void)
{
	char text[32];

	t_need(hak_option_get("PROFILE", text, sizeof(text)) > 0);
	return strcmp(text, "hardened") == 0;
}

int main(int argc, char **argv)
{
	static const struct t_case hardened[] = {
		T_CASE(hardened_blocks),
		T_CASE(hardened_threads),
	};
	/* ahead: first, as only memory that is new is faulted in */
	static const struct t_case cases[] = {
		T_CASE(ahead),  T_CASE(small_blocks), T_CASE(blocks_with_tails),
		T_CASE(spans),  T_CASE(huge_blocks),  T_CASE(purged),
		T_CASE(lazily), T_CASE(threads),      T_CASE(classes_add_up),
	};

	if (is_hardened())
		return t_main(argc, argv, hardened, T_COUNT(hardened));
	return t_main(argc, argv, cases, T_COUNT(cases));
}

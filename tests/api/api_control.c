/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* hak_trim, hak_stats_get, hak_option_*, hak_version. */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "door.h"

/* Every option by name, from the table itself. */
static const char *const names[] = {
#define HK_OPTION(name, ...) #name,
#define HK_OPTION_WORDS(...)
#define HK_OPTION_LEGACY(name)
#include "base/options.def"
#undef HK_OPTION
#undef HK_OPTION_WORDS
#undef HK_OPTION_LEGACY
};

static void *blocks[64 * 1024];

/* `bytes` in blocks of `size`, touched, then freed. */
static void take_and_free(size_t bytes, size_t size)
{
	size_t count = bytes / size;

	t_need(count <= T_COUNT(blocks));
	for (size_t i = 0; i < count; i++) {
		blocks[i] = hak_malloc(size);
		t_need(blocks[i] != NULL);
		memset(blocks[i], 1, size);
	}
	for (size_t i = 0; i < count; i++)
		hak_free(blocks[i]);
}

static void trim_gives_back(void)
{
	static const size_t sizes[] = { 1024, 20000, 100000, 300000, 4 * T_MiB };

	for (unsigned i = 0; i < T_COUNT(sizes); i++) {
		struct hak_stats before, after;
		size_t given;

		t_equal(hak_option_set("PROFILE", "speed"), 0); /* keeps much: there is something */
		take_and_free(64 * T_MiB - 64 * T_MiB % sizes[i], sizes[i]);
		hak_stats_get(&before);
		given = hak_trim();
		hak_stats_get(&after);
		t_check_at(given > 0, sizes[i]);
		t_check_at(after.committed < before.committed, sizes[i]);
		t_check_at(before.committed - after.committed >= given / 2, sizes[i]);
		t_check_at(after.purged >= before.purged + given / 2, sizes[i]);
		t_check_at(after.held <= 2 * T_MiB, after.held);
		t_equal(hak_option_set("PROFILE", "balanced"), 0);
	}
}

static void trim_really_lowers_rss(void)
{
	size_t full, empty;

	if (!T_RSS_COUNTS)
		return;
	t_equal(hak_option_set("PROFILE", "speed"), 0);
	take_and_free(60 * T_MiB, 1024);
	full = t_status_kib("VmRSS");
	hak_trim();
	empty = t_status_kib("VmRSS");
	t_check_at(empty + 20 * 1024 < full || full < 40 * 1024, full);
	t_check_at(empty < 20 * 1024, empty);
	t_equal(hak_option_set("PROFILE", "balanced"), 0);
}

static void trim_of_nothing(void)
{
	hak_trim();
	errno = 77;
	t_check(hak_trim() <= T_MiB);
	t_equal(errno, 77);
}

/* held <= bound + heaps * 256 KiB + 2 MiB a thread that is paying: at every moment. */
static void note_held(const char *profile, size_t size, size_t freed)
{
	struct hak_stats s;

	hak_stats_get(&s);
	if (s.held <= s.bound + s.heaps * 256 * T_KiB + 2 * T_MiB)
		return;
	t_say("%s, %zu blocks of %zu freed: held %zu KiB, bound %zu KiB, live %zu KiB", profile,
	      freed, size, s.held / T_KiB, s.bound / T_KiB, s.live / T_KiB);
	t_check_at(!"held within the bound", size);
}

static void held_is_bounded(void)
{
	static const char *const profiles[] = { "speed", "balanced", "lean" };
	static const size_t sizes[] = { 512, 16384, 70000, 300000, 2 * T_MiB };

	for (unsigned i = 0; i < T_COUNT(profiles); i++)
		for (unsigned s = 0; s < T_COUNT(sizes); s++) {
			size_t count = 128 * T_MiB / sizes[s], failures = t_failures();

			if (count > T_COUNT(blocks))
				count = T_COUNT(blocks);
			t_equal(hak_option_set("HAKMEM_PROFILE", profiles[i]), 0);
			hak_trim(); /* a new bound holds for what is freed from here on */
			for (size_t j = 0; j < count; j++) {
				blocks[j] = hak_malloc(sizes[s]);
				t_need(blocks[j] != NULL);
				memset(blocks[j], 1, sizes[s]);
			}
			for (size_t j = 0; j < count; j++) {
				hak_free(blocks[j]);
				if (t_failures() < failures + 2 && j % (count / 64 + 1) == 0)
					note_held(profiles[i], sizes[s], j + 1);
			}
			note_held(profiles[i], sizes[s], count);
		}
	t_equal(hak_option_set("PROFILE", "balanced"), 0);
}

static void stats_add_up(void)
{
	struct hak_stats a, b, c;
	void *small[100], *huge;

	hak_stats_get(&a);
	for (unsigned i = 0; i < 100; i++)
		small[i] = hak_malloc(10000);
	huge = hak_malloc(100 * T_MiB);
	t_need(huge != NULL);
	hak_stats_get(&b);
	t_check(b.live >= a.live + 1000000 + 100 * T_MiB);
	t_check(b.live <= a.live + 1300000 + 101 * T_MiB);
	t_check(b.huge >= a.huge + 100 * T_MiB && b.huge <= a.huge + 101 * T_MiB);
	t_equal(b.huge_blocks, a.huge_blocks + 1);
	t_check(b.huge <= b.live && b.live <= b.mapped && b.committed <= b.mapped);
	t_check(b.blocks_out > a.blocks_out && b.system_calls > a.system_calls);
	t_check(b.heaps >= 1 && b.heaps_running >= 1);
	t_check(b.metadata > 0 && b.metadata < 64 * T_MiB && b.bound > 0);
	for (unsigned i = 0; i < 100; i++)
		hak_free(small[i]);
	hak_free(huge);
	hak_stats_get(&c);
	t_check(c.live <= a.live + 64 * T_KiB);
	t_equal(c.huge_blocks, a.huge_blocks);
	t_equal(c.huge, a.huge);
}

static void *nothing(void *arg)
{
	hak_free(hak_malloc(100));
	return arg;
}

static void stats_of_threads(void)
{
	struct hak_stats a, b;

	hak_stats_get(&a);
	for (unsigned i = 0; i < 20; i++)
		t_join(t_thread(nothing, NULL));
	hak_stats_get(&b);
	t_check(b.heaps_parked >= 1);
	t_check(b.heaps <= a.heaps + 3);
	t_equal(b.heaps_running, a.heaps_running);
}

/* Blocks that threads allocate, and free for each other, while somebody looks, and trims. */
enum { CROWD = 4, SHARED = 4000 };
static void *_Atomic shared[SHARED];
static _Atomic bool enough;

static void *change_blocks(void *arg)
{
	uint64_t seed = (uintptr_t)arg;

	while (!atomic_load(&enough)) {
		size_t bytes =
			t_below(&seed, 50) == 0 ? t_below(&seed, 400000) : t_below(&seed, 9000);
		char *p = hak_malloc(bytes), *before;

		t_need(p != NULL);
		memset(p, (int)(bytes & 0x7f), bytes);
		before = atomic_exchange(&shared[t_below(&seed, SHARED)], p);
		hak_free(before);
	}
	return NULL;
}

static void stats_while_threads_run(void)
{
	static struct hak_class_stats class[128];
	pthread_t thread[CROWD];
	struct hak_stats s, before;
	size_t n;

	hak_stats_get(&before);
	for (unsigned i = 0; i < CROWD; i++)
		thread[i] = t_thread(change_blocks, (void *)(uintptr_t)(i + 1));
	for (size_t i = 0; i < t_scale(300, 30); i++) {
		hak_stats_get(&s);
		t_check_at(s.live < before.live + 128 * T_MiB, s.live);
		t_check_at(s.resident < T_GiB && s.committed <= s.mapped, s.resident);
		n = hak_stats_classes(class, T_COUNT(class));
		for (size_t c = 0; c < n; c++)
			t_check_at(class[c].live <= class[c].carved &&
					   class[c].carved <= class[c].blocks,
				   c);
		if (i % 4 == 0)
			hak_trim();
		t_sleep_ms(1);
	}
	atomic_store(&enough, true);
	for (unsigned i = 0; i < CROWD; i++)
		t_join(thread[i]);
	for (unsigned i = 0; i < SHARED; i++)
		hak_free(shared[i]);
	hak_trim();
	hak_stats_get(&s);
	t_check_at(s.live <= before.live + 64 * T_KiB, s.live - before.live);
}

static void option_names(void)
{
	char value[64];

	for (unsigned i = 0; i < T_COUNT(names); i++) {
		char with[80];

		snprintf(with, sizeof(with), "HAKMEM_%s", names[i]);
		t_check_at(hak_option_get(names[i], value, sizeof(value)) >= 0, i);
		t_check_at(hak_option_get(with, value, sizeof(value)) >= 0, i);
	}
	t_equal(hak_option_get("NO_SUCH_OPTION", value, sizeof(value)), -1);
	t_equal(hak_option_get("", value, sizeof(value)), -1);
	t_equal(hak_option_set("NO_SUCH_OPTION", "1"), ENOENT);
	t_equal(hak_option_set("HAKMEM_", "1"), ENOENT);
}

static void option_values(void)
{
	char value[64];
	int length;

	t_equal(hak_option_set("BOUND", "12345678"), 0);
	length = hak_option_get("BOUND", value, sizeof(value));
	t_equal(length, strlen(value));
	t_equal(strtoul(value, NULL, 10), 12345678);
	t_equal(hak_option_set("HAKMEM_BOUND", "8M"), 0);
	t_check(hak_option_get("BOUND", value, sizeof(value)) > 0);
	t_check(strcmp(value, "8M") == 0 || strtoul(value, NULL, 10) == 8 * T_MiB);
	t_equal(hak_option_set("BOUND", "1"), EINVAL); /* below its least value */
	t_equal(hak_option_set("BOUND", ""), EINVAL);
	t_equal(hak_option_set("BOUND", "many"), EINVAL);
	t_equal(hak_option_set("BOUND", "-70000"), EINVAL);
	t_equal(hak_option_set("BOUND", "70000x"), EINVAL);
	t_equal(hak_option_set("BOUND", "99999999999999999999999"), EINVAL);
	t_equal(hak_option_set("BIGCACHE_L25", "2"), EINVAL);
	t_equal(hak_option_set("PROFILE", "fast"), EINVAL);
	t_equal(hak_option_set("SS_MEM_LEAN_DECOMMIT", "SOMETIMES"), EINVAL);
	t_check(hak_option_get("BOUND", value, sizeof(value)) > 0); /* refusals changed nothing */
	t_check(strcmp(value, "8M") == 0 || strtoul(value, NULL, 10) == 8 * T_MiB);
}

static void option_get_cuts(void)
{
	char value[8] = "#######", whole[64];
	int length;

	t_equal(hak_option_set("PROFILE", "balanced"), 0);
	length = hak_option_get("PROFILE", whole, sizeof(whole));
	t_equal(length, strlen("balanced"));
	t_check(strcmp(whole, "balanced") == 0);
	t_equal(hak_option_get("PROFILE", value, 4), length);
	t_check(strcmp(value, "bal") == 0 && value[4] == '#');
	t_equal(hak_option_get("PROFILE", value, 1), length);
	t_check(value[0] == '\0' && value[1] == 'a');
}

static void profile_sets_the_rest(void)
{
	char speed[32], lean[32];

	/* From this on BOUND is set by hand in this process, so look at BOUND_SHARE. */
	t_equal(hak_option_set("PROFILE", "speed"), 0);
	t_check(hak_option_get("BOUND_SHARE", speed, sizeof(speed)) > 0);
	t_equal(hak_option_set("PROFILE", "lean"), 0);
	t_check(hak_option_get("BOUND_SHARE", lean, sizeof(lean)) > 0);
	t_check(strcmp(speed, lean) != 0);
	t_equal(hak_option_set("WARM_UNITS", "9"), 0);
	t_equal(hak_option_set("PROFILE", "balanced"), 0);
	t_check(hak_option_get("WARM_UNITS", lean, sizeof(lean)) > 0);
	t_check(strcmp(lean, "9") == 0); /* what was set by hand stays */
}

struct seen {
	unsigned count, each[T_COUNT(names)], by_program;
};

static void note_option(const char *name, const char *value, const char *source,
			const char *sentence, void *arg)
{
	struct seen *seen = arg;

	seen->count++;
	t_check(value != NULL && sentence != NULL && strlen(sentence) > 5);
	t_check(strcmp(source, "profile") == 0 || strcmp(source, "environment") == 0 ||
		strcmp(source, "program") == 0);
	seen->by_program += strcmp(source, "program") == 0;
	if (strncmp(name, "HAKMEM_", 7) == 0)
		name += 7;
	for (unsigned i = 0; i < T_COUNT(names); i++)
		seen->each[i] += strcmp(names[i], name) == 0;
}

static void option_each(void)
{
	static struct seen seen;

	t_equal(hak_option_set("WARM_UNITS", "3"), 0);
	hak_option_each(note_option, &seen);
	t_equal(seen.count, T_COUNT(names));
	for (unsigned i = 0; i < T_COUNT(names); i++)
		t_check_at(seen.each[i] == 1, i);
	t_check(seen.by_program >= 1);
}

/* ---- By two threads at once ---- */

static _Atomic unsigned begun, ended;

static const char *wrap_in(unsigned round) { return round & 1 ? "0" : "1"; }
static const char *profile_in(unsigned round) { return round & 2 ? "hardened" : "lean"; }

static void *set_profiles(void *arg)
{
	unsigned rounds = *(unsigned *)arg;

	for (unsigned i = 1; i <= rounds; i++) {
		for (unsigned spins = 0; atomic_load(&begun) < i; spins++)
			if (spins > 10000)
				sched_yield();
		t_equal(hak_option_set("PROFILE", profile_in(i)), 0);
		atomic_store(&ended, i);
	}
	return NULL;
}

/* Which mode new blocks come from, by their sizes. */
static const char *mode_by_blocks(void)
{
	void *p = hak_malloc(128);
	size_t usable = hak_malloc_usable_size(p);

	hak_free(p);
	return usable >= 64 * T_KiB ? "spans" : usable % 16 == 8 ? "hardened" : "normal";
}

static void set_by_two_threads(void)
{
	unsigned rounds = (unsigned)t_scale(1000, 100);
	pthread_t other = t_thread(set_profiles, &rounds);
	uint64_t seed = 1;
	char value[8];

	for (unsigned i = 1; i <= rounds; i++) {
		const char *want = i & 2 ? "hardened" : i & 1 ? "spans" : "normal";

		atomic_store(&begun, i);
		for (volatile uint64_t n = t_below(&seed, 400); n > 0; n--)
			; /* every part of the one beside every part of the other */
		t_equal(hak_option_set("WRAP_TINY", wrap_in(i)), 0);
		while (atomic_load(&ended) < i)
			sched_yield();
		t_need(hak_option_get("WRAP_TINY", value, sizeof(value)) == 1);
		t_check_at(strcmp(value, wrap_in(i)) == 0, i);
		t_check_at(strcmp(mode_by_blocks(), want) == 0, i);
	}
	t_join(other);
	t_equal(hak_option_set("PROFILE", "balanced"), 0);
	t_equal(hak_option_set("WRAP_TINY", "1"), 0);
}

static void version(void)
{
	char text[32];

	snprintf(text, sizeof(text), "%d.%d.%d", HAKMEM_VERSION_MAJOR, HAKMEM_VERSION_MINOR,
		 HAKMEM_VERSION_PATCH);
	t_check(strcmp(hak_version(), text) == 0);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(version),
		T_CASE(stats_add_up),
		T_CASE(stats_of_threads),
		T_CASE(stats_while_threads_run),
		T_CASE(held_is_bounded),
		T_CASE(trim_gives_back),
		T_CASE(trim_really_lowers_rss),
		T_CASE(trim_of_nothing),
		T_CASE(option_names),
		T_CASE(option_values),
		T_CASE(option_get_cuts),
		T_CASE(option_each),
		T_CASE(profile_sets_the_rest),
		T_CASE(set_by_two_threads),
	};

	return t_main(argc, argv, cases, T_COUNT(cases));
}

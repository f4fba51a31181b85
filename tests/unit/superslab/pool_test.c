/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* pool: which units are taken, and what becomes of those that come back. */
#include "superslab/pool.h"

#include "base/options.h"
#include "fake_os.h"
#include "superslab/release.h"
#include "unit.h"

static void check(void)
{
	size_t free_units, dirty;

	hk_pool_lock();
	hk_pool_check();
	hk_pool_unlock();
	hk_pool_count(&free_units, &dirty);
	t_equal(atomic_load(&hk_dirty), dirty * HK_UNIT_BYTES); /* PO4 */
}

/* Units in hand have words of their own; here they stay FREE. */
static void mark_held(const struct hk_run *run)
{
	for (uint32_t i = 0; i < run->units; i++)
		hk_page_set(run->unit + i, hk_word_kind(HK_KIND_FREE, 0));
}

static struct hk_run take(uint32_t units, enum hk_pool_wish wish)
{
	struct hk_run run = { .unit = HK_NO_UNIT };

	t_need(hk_pool_take(units, 1, wish, &run));
	t_equal(run.units, units);
	mark_held(&run);
	check();
	return run;
}

static void give(hk_unit unit, uint32_t units, uint32_t touched)
{
	hk_pool_give(unit, units, touched);
	check();
}

static size_t free_units(void)
{
	size_t units, dirty;

	hk_pool_count(&units, &dirty);
	return units;
}

static size_t dirty_units(void)
{
	size_t units, dirty;

	hk_pool_count(&units, &dirty);
	return dirty;
}

/* All units of the pool in hand, so that the test says what is free. */
static hk_unit take_all(uint32_t units)
{
	hk_unit first = take(units, HK_WISH_ANY).unit;

	while (free_units() != 0)
		take(1, HK_WISH_ANY);
	return first;
}

static void po1_split_and_coalesce(void)
{
	hk_unit u = take_all(96);

	give(u, 96, 0);
	t_equal(take(5, HK_WISH_ANY).unit, u);
	t_equal(take(60, HK_WISH_ANY).unit, u + 5); /* across SuperSlabs */
	t_equal(take(31, HK_WISH_ANY).unit, u + 65);
	t_equal(free_units(), 0);
	give(u + 5, 60, 0);
	give(u, 5, 0);       /* joins what is behind it */
	give(u + 65, 31, 0); /* joins what is before it */
	t_equal(take(96, HK_WISH_ANY).unit, u);
	give(u, 10, 0);
	give(u + 20, 10, 0);
	give(u + 10, 10, 0); /* joins both */
	t_equal(take(30, HK_WISH_ANY).unit, u);
	t_equal(hk_fake_counts().map_at, 1);
}

/* PO3: what is in somebody's hand is no neighbour. */
static void po3_held_units_do_not_join(void)
{
	hk_unit u = take_all(32);

	give(u, 32, 0);
	t_equal(take(1, HK_WISH_ANY).unit, u);
	t_equal(take(1, HK_WISH_ANY).unit, u + 1);
	give(u, 1, 0);
	t_equal(free_units(), 31);
	t_equal(take(30, HK_WISH_ANY).unit, u + 2);
	t_equal(take(1, HK_WISH_ANY).unit, u);
}

static void best_fit(void)
{
	hk_unit u = take_all(64);

	give(u, 9, 9);
	give(u + 10, 3, 3);
	give(u + 20, 5, 5);
	t_equal(take(3, HK_WISH_ANY).unit, u + 10);
	t_equal(take(4, HK_WISH_ANY).unit, u + 20);
	t_equal(take(1, HK_WISH_ANY).unit, u + 24);
	t_equal(take(6, HK_WISH_ANY).unit, u);
	t_equal(free_units(), 3);
}

static void fullest_superslab_first(void)
{
	hk_unit u = take_all(128);
	hk_unit a = (hk_unit)hk_align_up(u, 32), b = a + 32;

	give(a + 8, 2, 2);
	give(b + 8, 2, 2);
	give(a + 16, 8, 8); /* more is free in a */
	t_equal(take(2, HK_WISH_ANY).unit, b + 8);
	t_equal(take(2, HK_WISH_ANY).unit, a + 8);
	give(a + 8, 2, 2);
	give(b + 8, 2, 2);
	give(b + 16, 15, 15);
	t_equal(take(2, HK_WISH_ANY).unit, a + 8);
}

static void po2_dirty_before_clean(void)
{
	hk_unit u = take_all(64);
	struct hk_run run;

	give(u, 4, 0);
	give(u + 8, 12, 12);
	t_equal(dirty_units(), 12);
	run = take(4, HK_WISH_ANY); /* though the clean one fits exactly */
	t_equal(run.unit, u + 8);
	t_equal(run.dirty, 4);
	run = take(4, HK_WISH_ZERO);
	t_equal(run.unit, u);
	t_equal(run.dirty, 0);
	run = take(4, HK_WISH_ZERO); /* better than none */
	t_equal(run.unit, u + 12);
	t_equal(run.dirty, 4);
	t_equal(dirty_units(), 4);
}

/* The mark of a unit is its own: the first `touched` get it, the others keep theirs. */
static void po2_marks_are_kept(void)
{
	hk_unit u = take_all(64);
	struct hk_run run;

	give(u, 10, 3);
	t_equal(dirty_units(), 3);
	run = take(10, HK_WISH_ANY);
	t_equal(run.dirty, 3);
	give(u, 10, 0);
	t_equal(dirty_units(), 3); /* as before */
	run = take(10, HK_WISH_ANY);
	give(u + 2, 8, 1);
	t_equal(dirty_units(), 1);
	give(u, 2, 0);
	t_equal(dirty_units(), 3);
	run = take(2, HK_WISH_ANY); /* cut where the dirty ones are */
	t_equal(run.unit, u);
	t_equal(run.dirty, 2);
	run = take(1, HK_WISH_ANY);
	t_equal(run.unit, u + 2);
}

static void aligned(void)
{
	struct hk_run run;

	for (uint32_t align = 2; align <= 512; align *= 2) {
		t_need(hk_pool_take(3, align, HK_WISH_ANY, &run));
		t_check_at(t_aligned(hk_arena_address(run.unit), align * HK_UNIT_BYTES), align);
		check();
	}
	t_need(hk_pool_take(32, 32, HK_WISH_ZERO, &run));
	t_check(t_aligned(hk_arena_address(run.unit), HK_SS_BYTES));
	check();
}

static void batch(void)
{
	struct hk_run run[40];
	hk_unit u = take_all(64);
	uint32_t got;

	give(u, 3, 3);
	give(u + 10, 20, 0);
	got = hk_pool_take_batch(5, run);
	t_equal(got, 5);
	check();
	for (unsigned i = 0; i < got; i++) {
		t_equal(run[i].units, 1);
		t_equal(run[i].dirty, i < 3);
		for (unsigned j = 0; j < i; j++)
			t_check(run[i].unit != run[j].unit);
	}
	t_equal(free_units(), 18);
	hk_fake_fail_after(1);
	t_equal(hk_pool_take_batch(40, run), 18); /* what there is */
	t_equal(hk_pool_take_batch(40, run), 0);
	hk_fake_fail_after(0);
	t_equal(hk_pool_take_batch(40, run), 40);
	check();
}

static void extend(void)
{
	struct hk_run run = { .units = 0 };
	hk_unit u = take_all(64);

	give(u + 10, 10, 4);
	t_check(!hk_pool_extend(u + 9, 1, &run));
	t_check(!hk_pool_extend(u + 10, 11, &run));
	t_equal(free_units(), 10);
	t_check(hk_pool_extend(u + 10, 6, &run));
	t_equal(run.unit, u + 10);
	t_equal(run.dirty, 4);
	check();
	t_check(hk_pool_extend(u + 16, 4, &run));
	t_check(!hk_pool_extend(u + 20, 1, &run));
	t_equal(free_units(), 0);
	check();
}

/* At the end of the arena there is always more, unless the system refuses. */
static void extend_beyond_the_end(void)
{
	struct hk_run run = { .units = 0 };
	hk_unit end = take_all(64) + 64, u;

	t_need(end == hk_arena_end());
	t_check(hk_pool_extend(end, 40, &run));
	t_equal(run.unit, end);
	t_equal(run.units, 40);
	check();
	u = end + 40;
	t_equal(free_units(), hk_arena_end() - u);
	t_check(hk_pool_extend(u, free_units() + 1, &run)); /* a part is free, a part is mapped */
	t_equal(run.unit, u);
	check();
	hk_fake_fail_after(1);
	t_check(!hk_pool_extend(run.unit + run.units, (uint32_t)free_units() + 1, &run));
	check();
}

static void dirty_is_purged_longest_first(void)
{
	struct hk_run run;
	hk_unit u = take_all(128);

	t_check(!hk_pool_take_dirty(8, &run));
	give(u, 40, 0);
	t_check(!hk_pool_take_dirty(8, &run)); /* free, but clean */
	give(u + 50, 5, 5);
	give(u + 60, 20, 11);
	t_check(hk_pool_take_dirty(8, &run));
	t_check(run.unit == u + 63 && run.units == 8 && run.dirty == 8);
	check();
	t_equal(dirty_units(), 8);
	hk_pool_give_purged(&run, HK_PURGED_ZERO);
	check();
	t_equal(dirty_units(), 8);
	t_equal(free_units(), 65);
	t_check(hk_pool_take_dirty(8, &run));
	t_check(run.unit == u + 60 && run.units == 3);
	hk_pool_give_purged(&run, HK_PURGED_NOT); /* refused: dirty still */
	check();
	t_equal(dirty_units(), 8);
	while (hk_pool_take_dirty(512, &run))
		hk_pool_give_purged(&run, HK_PURGED_ZERO);
	t_equal(dirty_units(), 0);
	t_check(take(20, HK_WISH_ANY).zero);
	t_equal(take(5, HK_WISH_ZERO).dirty, 0);
	check();
}

/* MADV_FREE: not held any more, but not zero either, until it is dirty again, or really purged. */
static void lazily_purged_is_not_zero(void)
{
	struct hk_run run;
	hk_unit u = take_all(64);

	give(u, 20, 20);
	t_check(hk_pool_take_dirty(20, &run));
	hk_pool_give_purged(&run, HK_PURGED_LAZILY);
	check();
	t_equal(dirty_units(), 0);
	t_check(!hk_pool_take_dirty(20, &run));
	run = take(5, HK_WISH_ZERO);
	t_check(run.unit == u && run.dirty == 0 && !run.zero);
	give(u, 5, 2);
	t_equal(dirty_units(), 2);
	t_check(hk_pool_take_dirty(20, &run) && run.units == 2);
	hk_pool_give_purged(&run, HK_PURGED_ZERO);
	check();
	t_check(take(2, HK_WISH_ZERO).zero);
	t_check(!take(1, HK_WISH_ZERO).zero);
}

/* Whole SuperSlabs go back to the system, and come again clean. */
static void unmap(void)
{
	hk_unit u = take_all(160);
	hk_unit whole = (hk_unit)hk_align_up(u + 1, 32);
	size_t mapped = hk_arena_mapped();
	unsigned zeros = 0;

	for (hk_unit in = u + 1; in < u + 151; in++)
		*(char *)hk_arena_address(in) = 1;
	give(u + 1, 150, 150);
	t_equal(hk_pool_unmap(), (hk_align_down(u + 151, 32) - whole) * HK_UNIT_BYTES);
	check();
	t_check(hk_arena_mapped() < mapped);
	t_equal(hk_page_word(whole), 0);
	t_check(!hk_fake_has(hk_arena_address(whole), 1) && hk_page_word(u) != 0);
	t_equal(hk_pool_unmap(), 0);
	while (hk_arena_mapped() < 2 * mapped) {
		struct hk_run run = take(32, HK_WISH_ZERO); /* longer than what is left dirty */
		bool zero = t_is_zero(hk_arena_address(run.unit), 32 * HK_UNIT_BYTES);

		t_check(zero || !run.zero);
		zeros += zero;
	}
	t_check(zeros > 2 && hk_page_word(whole) != 0); /* the addresses are used again */
	t_equal(hk_arena_windows(), 0);
}

/* Refused: false, and nothing has changed. Each size of request, with something too short free. */
static void refusal_changes_nothing(void)
{
	struct hk_run run;
	hk_unit u = take_all(64);

	give(u, 7, 3);
	hk_fake_fail_after(1);
	for (uint32_t units = 8; units <= 512; units *= 2) {
		t_check_at(!hk_pool_take(units, 1, HK_WISH_ANY, &run), units);
		t_check_at(!hk_pool_take(1, units, HK_WISH_ANY, &run), units);
		t_equal(free_units(), 7);
		t_equal(dirty_units(), 3);
		check();
	}
	t_check(hk_pool_take(7, 1, HK_WISH_ANY, &run));
	t_equal(run.unit, u);
	hk_fake_fail_after(0);
	take(512, HK_WISH_ZERO);
}

/* A tier of long runs holds several lengths: the one that is long enough is found in the end. */
static void short_of_memory_looks_at_all(void)
{
	struct hk_run run;
	hk_unit u = take_all(600);

	give(u + 500, 47, 47);
	for (unsigned i = 0; i < 10; i++)
		give(u + 42 * i, 41, 41);
	hk_fake_fail_after(1);
	t_check(hk_pool_take(46, 1, HK_WISH_ANY, &run));
	t_equal(run.unit, u + 500);
	t_check(!hk_pool_take(46, 1, HK_WISH_ANY, &run));
	check();
}

static void pages_are(size_t dirty, size_t lazy, size_t prefaulted)
{
	struct hk_pool_pages pages = hk_pool_pages();

	t_equal(pages.dirty, dirty);
	t_equal(pages.lazy, lazy);
	t_equal(pages.prefaulted, prefaulted);
}

/* AR3: how far into a unit its pages are there. */
static void ar3_pages_are_counted(void)
{
	struct hk_run run;
	hk_unit u = take_all(64);

	pages_are(0, 0, 0);
	give(u, 4, 0);
	pages_are(0, 0, 0);
	hk_arena_note_touched(u + 8, HK_UNIT_BYTES + 5000);
	t_equal(hk_arena_pages(u + 8, 3, 0), HK_UNIT_BYTES + 8192);
	t_equal(hk_arena_pages(u + 8, 3, 9000), HK_UNIT_BYTES + 8192);
	t_equal(hk_arena_pages(u + 8, 3, 2 * HK_UNIT_BYTES + 1), 2 * HK_UNIT_BYTES + 4096);
	give(u + 8, 3, 2);
	pages_are(HK_UNIT_BYTES + 8192, 0, 0);
	give(u + 20, 6, 1); /* not noted: whole */
	pages_are(2 * HK_UNIT_BYTES + 8192, 0, 0);
	t_check(hk_pool_take_dirty(2, &run) && run.unit == u + 20);
	t_equal(run.pages, HK_UNIT_BYTES);
	hk_pool_give_purged(&run, HK_PURGED_ZERO);
	pages_are(HK_UNIT_BYTES + 8192, 0, 0);
	t_check(hk_pool_take_dirty(2, &run) && run.unit == u + 8);
	t_equal(run.pages, HK_UNIT_BYTES + 8192);
	hk_pool_give_purged(&run, HK_PURGED_NOT);
	pages_are(HK_UNIT_BYTES + 8192, 0, 0);
	t_check(hk_pool_take_dirty(2, &run) && run.unit == u + 8);
	hk_pool_give_purged(&run, HK_PURGED_LAZILY);
	pages_are(0, HK_UNIT_BYTES + 8192, 0);
	hk_arena_note_touched(u + 30, HK_UNIT_BYTES); /* as SS_PREFAULT does */
	give(u + 30, 1, 0);
	pages_are(0, HK_UNIT_BYTES + 8192, HK_UNIT_BYTES);
	check();
}

/* PO1: windows that are neighbours by number are not neighbours by address. */
static void windows_do_not_join(void)
{
	struct hk_run run[4];
	bool windows = false;

	for (unsigned i = 0; i < 4; i++) {
		hk_fake_taken(100000);
		t_need(hk_pool_take(64, 1, HK_WISH_ANY, &run[i]));
		mark_held(&run[i]);
		windows |= run[i].unit >= HK_ARENA_UNITS;
		check();
	}
	t_check(windows);
	for (unsigned i = 0; i < 4; i++)
		give(run[i].unit, 64, i);
	t_check(!hk_pool_extend(HK_ARENA_UNITS, 1, &run[0]));
	check();
}

/* Takes units one by one, so many that the arena grows that many times. */
static void grow_by_units(unsigned superslabs)
{
	struct hk_run run;

	for (unsigned i = 0; i < superslabs * HK_SS_UNITS; i++)
		t_need(hk_pool_take(1, 1, HK_WISH_ANY, &run));
}

/* Units of them have pages before they are used. */
static void huge_pages_for_units(void)
{
	struct hk_run run;

	t_equal(hk_option_set("HUGE_PAGES", "4M"), 0);
	atomic_store(&hk_out, 4 * (int64_t)T_MiB - 1);
	grow_by_units(3);
	while (free_units() != 0)
		t_need(hk_pool_take(1, 1, HK_WISH_ANY, &run));
	t_equal(hk_fake_counts().fault_huge, 0);
	atomic_store(&hk_out, 4 * (int64_t)T_MiB);
	run = take(1, HK_WISH_ANY);
	t_equal(hk_fake_counts().fault_huge, 1);
	t_check(run.dirty == 1 && !run.zero);
	t_equal(dirty_units(), HK_SS_UNITS - 1);
	t_equal(hk_arena_pages(run.unit, 1, 0), HK_UNIT_BYTES);
	grow_by_units(9);
	t_equal(hk_fake_counts().fault_huge, 10);
	take(256, HK_WISH_ANY); /* a large block: may never be written to */
	t_equal(hk_fake_counts().fault_huge, 10);
	check();
}

/* The first SuperSlab is mapped in pieces, and so are others when memory is scarce: none of them becomes a
 * huge page, and what is known of the units before stays true. */
static void huge_pages_behind_a_piece(void)
{
	struct hk_run run;

	t_equal(hk_option_set("HUGE_PAGES", "4M"), 0);
	run = take(3, HK_WISH_ANY);
	atomic_store(&hk_out, 4 * (int64_t)T_MiB);
	for (unsigned i = 0; i < 3 * HK_SS_UNITS; i++)
		take(1, HK_WISH_ANY);
	t_check(hk_fake_counts().fault_huge >= 2);
	give(run.unit, 3, 0);
	hk_fake_fail_every(2);
	for (unsigned i = 0; i < 9; i++) {
		run = take(41, HK_WISH_ZERO);
		for (unsigned j = 0; j < HK_SS_UNITS; j++)
			take(1, HK_WISH_ANY);
		give(run.unit, 41, 0);
	}
	t_check(hk_fake_counts().failed >= 2);
}

static unsigned asked_for(const char *from, uint64_t ns)
{
	unsigned before = hk_fake_counts().fault_huge;

	t_equal(hk_option_set("HUGE_PAGES", from), 0);
	atomic_store(&hk_out, 100 * (int64_t)T_MiB);
	hk_fake_huge(ns);
	grow_by_units(20);
	check();
	return hk_fake_counts().fault_huge - before;
}

static void huge_pages_that_do_not_come(void)
{
	t_check(asked_for("4M", 100000) >= 15);
	t_equal(asked_for("4M", 0), 4);
	t_equal(asked_for("4M", 100000), 0);
}

static void huge_pages_that_take_long(void) { t_equal(asked_for("4M", 700000), 4); }

static void no_huge_pages_wanted(void) { t_equal(asked_for("0", 100000), 0); }

U_MAIN(T_CASE(po1_split_and_coalesce), T_CASE(po3_held_units_do_not_join), T_CASE(best_fit),
       T_CASE(fullest_superslab_first), T_CASE(po2_dirty_before_clean), T_CASE(po2_marks_are_kept),
       T_CASE(aligned), T_CASE(batch), T_CASE(extend), T_CASE(extend_beyond_the_end),
       T_CASE(dirty_is_purged_longest_first), T_CASE(lazily_purged_is_not_zero),
       T_CASE(ar3_pages_are_counted), T_CASE(unmap), T_CASE(refusal_changes_nothing),
       T_CASE(short_of_memory_looks_at_all), T_CASE(windows_do_not_join),
       T_CASE(huge_pages_for_units), T_CASE(huge_pages_behind_a_piece),
       T_CASE(huge_pages_that_do_not_come), T_CASE(huge_pages_that_take_long),
       T_CASE(no_huge_pages_wanted))

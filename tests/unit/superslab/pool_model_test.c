/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* pool: random operations against an array with a byte a unit. PO1 to PO4 are proved by hk_pool_check
 * at check level 3, and at both levels by the model. */
#include <string.h>

#include "fake_os.h"
#include "superslab/pool.h"
#include "superslab/release.h"
#include "unit.h"

#define UNITS         (32 * 1024u)
#define HELD          200
#define EXACT_LENGTHS 32u /* longer runs share tiers, and a look at a tier may miss one */

enum { IS_FREE = 1, IS_DIRTY = 2, IS_LAZY = 4 };

static uint8_t model[UNITS];
static bool mapped[UNITS];
static hk_unit seen; /* units below it are in the model */
static struct hk_run held[HELD];
static unsigned held_count;
static uint64_t seed;

/* Units that the arena has got meanwhile: free and clean. */
static void learn(void)
{
	hk_unit end = hk_arena_end();

	t_need(end <= UNITS);
	for (hk_unit u = 0; u < end; u++) {
		if (u >= seen || !mapped[u])
			model[u] = hk_page_word(u) != 0 ? IS_FREE : 0;
		mapped[u] = hk_page_word(u) != 0;
	}
	seen = end;
}

static uint32_t count(hk_unit unit, uint32_t units, uint8_t what)
{
	uint32_t n = 0;

	for (hk_unit u = unit; u < unit + units; u++)
		n += (model[u] & what) == what;
	return n;
}

static void hold(const struct hk_run *run)
{
	learn();
	t_check(count(run->unit, run->units, IS_FREE) == run->units);
	t_equal(run->dirty, count(run->unit, run->units, IS_DIRTY));
	t_equal(run->zero, run->dirty == 0 && count(run->unit, run->units, IS_LAZY) == 0);
	for (hk_unit u = run->unit; u < run->unit + run->units; u++) {
		model[u] &= (uint8_t)~IS_FREE;
		hk_page_set(u, hk_word_kind(HK_KIND_FREE, 0)); /* as the floors above do */
	}
	t_need(held_count < HELD);
	held[held_count++] = *run;
}

static bool has_free_run(uint32_t units)
{
	uint32_t length = 0;

	for (hk_unit u = 0; u < seen; u++) {
		length = model[u] & IS_FREE ? length + 1 : 0;
		if (length == units)
			return true;
	}
	return false;
}

static void take(void)
{
	uint32_t units = 1 + (uint32_t)t_below(&seed, t_below(&seed, 8) == 0 ? 150 : 12);
	uint32_t align = t_below(&seed, 6) == 0 ? 1u << t_below(&seed, 6) : 1;
	unsigned maps = hk_fake_counts().map_at;
	struct hk_run run;

	if (!hk_pool_take(units, align, t_below(&seed, 2) ? HK_WISH_ANY : HK_WISH_ZERO, &run))
		return;
	if (hk_fake_counts().map_at != maps) /* nothing is mapped while enough is free in a row */
		t_check_at(units + align - 1 > EXACT_LENGTHS || !has_free_run(units + align - 1),
			   units);
	t_equal(run.units, units);
	t_check(t_aligned(hk_arena_address(run.unit), align * HK_UNIT_BYTES));
	hold(&run);
}

static void take_batch(void)
{
	struct hk_run run[8];
	uint32_t got = hk_pool_take_batch(1 + (uint32_t)t_below(&seed, 8), run);

	for (uint32_t i = 0; i < got; i++)
		hold(&run[i]);
}

/* Gives back a part of what is held, or all of it. */
static void give(void)
{
	struct hk_run *run = &held[t_below(&seed, held_count)];
	uint32_t units =
		t_below(&seed, 3) == 0 ? 1 + (uint32_t)t_below(&seed, run->units) : run->units;
	uint32_t touched = (uint32_t)t_below(&seed, units + 1);
	hk_unit unit = run->unit;

	for (uint32_t i = 0; i < units; i++)
		model[unit + i] = i < touched ? IS_FREE | IS_DIRTY : model[unit + i] | IS_FREE;
	run->unit += units;
	run->units -= units;
	if (run->units == 0)
		*run = held[--held_count];
	hk_pool_give(unit, units, touched);
}

static void extend(void)
{
	struct hk_run *run = &held[t_below(&seed, held_count)], more;
	uint32_t units = 1 + (uint32_t)t_below(&seed, 6);
	hk_unit end = run->unit + run->units;
	uint32_t known = (uint32_t)hk_min(units, seen - end);
	bool fits = count(end, known, IS_FREE) == known, got;

	got = hk_pool_extend(end, units, &more);
	if (known == units)
		t_equal(got, fits);
	else
		t_check(fits || !got); /* beyond the end: unless the system refuses */
	if (got) {
		hold(&more);
		held_count--;
		run->units += units;
	}
}

static void purge(void)
{
	enum hk_purged done = (enum hk_purged)t_below(&seed, 3);
	struct hk_run run;
	uint32_t max = 1 + (uint32_t)t_below(&seed, 32);

	if (!hk_pool_take_dirty(max, &run)) {
		t_equal(count(0, seen, IS_FREE | IS_DIRTY), 0);
		return;
	}
	t_check(run.units <= max);
	t_equal(count(run.unit, run.units, IS_FREE | IS_DIRTY), run.units);
	hk_pool_give_purged(&run, done);
	for (hk_unit u = run.unit; done != HK_PURGED_NOT && u < run.unit + run.units; u++)
		model[u] = done == HK_PURGED_ZERO ? IS_FREE : IS_FREE | IS_LAZY;
}

/* Every whole SuperSlab that is free. */
static void unmap(void)
{
	size_t sum = 0;

	for (hk_unit ss = 0; ss < seen; ss += HK_SS_UNITS) {
		if (ss + HK_SS_UNITS > seen || count(ss, HK_SS_UNITS, IS_FREE) != HK_SS_UNITS)
			continue;
		memset(&model[ss], 0, HK_SS_UNITS);
		memset(&mapped[ss], 0, HK_SS_UNITS);
		sum += HK_SS_BYTES;
	}
	t_equal(hk_pool_unmap(), sum);
}

static void check(void)
{
	size_t free_units, dirty;

	learn();
	hk_pool_count(&free_units, &dirty);
	t_equal(free_units, count(0, seen, IS_FREE));
	t_equal(dirty, count(0, seen, IS_FREE | IS_DIRTY));
	t_equal(atomic_load(&hk_dirty), dirty * HK_UNIT_BYTES);
	for (hk_unit u = 0; u < seen; u++) {
		uint32_t word = hk_page_word(u);

		if (model[u] & IS_FREE) /* PO3 */
			t_check_at(word == hk_word_kind(HK_KIND_FREE, HK_WORD_POOLED), u);
		else
			t_check_at((word & HK_WORD_POOLED) == 0, u);
	}
	hk_pool_lock();
	hk_pool_check();
	hk_pool_unlock();
}

static void run(uint64_t s, unsigned steps)
{
	seed = s;
	for (unsigned i = 0; i < steps; i++) {
		size_t what = t_below(&seed, 16);

		if (held_count == 0 || (what < 6 && held_count < HELD - 10))
			take();
		else if (what == 6 && held_count < HELD - 10)
			take_batch();
		else if (what < 13)
			give();
		else if (what == 13)
			extend();
		else if (i % 512 == 14)
			unmap();
		else
			purge();
		if (i % 16 == 0)
			check();
	}
	while (held_count != 0)
		give();
	check();
	t_equal(count(0, seen, IS_FREE) * HK_UNIT_BYTES, hk_arena_mapped());
}

static void po1_po2_po3_po4_random(void) { run(1, (unsigned)t_scale(12000, 1000)); }

static void po1_po2_po3_po4_random_scarce(void)
{
	hk_fake_limit(12 * T_MiB);
	run(2, (unsigned)t_scale(12000, 1000));
	t_check(hk_fake_counts().failed > 0);
	t_equal(hk_arena_windows(), 0);
}

U_MAIN(T_CASE(po1_po2_po3_po4_random), T_CASE(po1_po2_po3_po4_random_scarce))

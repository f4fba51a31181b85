/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "superslab/pool.h"

#include "base/check.h"
#include "base/tele.h"
#include "os/lock.h"
#include "superslab/marks.h"
#include "superslab/release.h" /* hk_dirty_add: the pool's part of D */

/* Lengths 1 … 32 have a tier each, longer ones four a doubling. */
#define TIERS       128u
#define EXACT_TIERS HK_SS_UNITS
/* How many runs of a tier are looked at for the fullest SuperSlab, or the first that is long enough. */
#define LOOKS 8u

struct tier {
	struct hk_run_node *head, *tail; /* head: given last */
};

/* Not in `pool`, which is initialised data: a page of it is one that every process writes to. */
static struct tier tiers[2][TIERS]; /* [0] clean, [1] with dirty units [lock POOL] */

static alignas(64) struct {
	struct hk_lock lock;
	uint64_t used[2][TIERS / 64];   /* bit a tier: not empty [lock POOL] */
	size_t free_units, dirty_units; /* [lock POOL] */
	size_t dirty_said;              /* what D has of this, in bytes [lock POOL] */
} pool = { .lock = HK_LOCK_INIT(HK_RANK_POOL) };
_Atomic size_t hk_pool_committed, hk_pool_least_dirty;

static unsigned tier_of(uint32_t units)
{
	unsigned shift;

	if (units <= EXACT_TIERS)
		return units - 1;
	shift = hk_log2(units); /* 5 … */
	return EXACT_TIERS - 1 + (shift - 5) * 4 + ((units >> (shift - 2)) & 3u) + 1;
}

/* Drops the lock: what has changed shows when it is whole, and D is told once (PO4). */
static void leave(void)
{
	size_t free = pool.free_units << HK_UNIT_SHIFT, dirty = pool.dirty_units << HK_UNIT_SHIFT;

	if (dirty != pool.dirty_said)
		hk_dirty_add((int64_t)(dirty - pool.dirty_said));
	pool.dirty_said = dirty;
	atomic_store_explicit(&hk_pool_committed, hk_arena_mapped() - free + dirty,
			      memory_order_relaxed);
	if (dirty < atomic_load_explicit(&hk_pool_least_dirty, memory_order_relaxed))
		atomic_store_explicit(&hk_pool_least_dirty, dirty, memory_order_relaxed);
	hk_lock_drop(&pool.lock);
}

/* ---- Runs in tiers ---- */

/* Tells the release policy when units that were purged a moment ago are wanted again. */
static void note_refaults(hk_unit unit, uint32_t units)
{
	uint32_t n;

	for (hk_unit u = unit, end = unit + units; u < end; u += n) {
		struct hk_superslab *ss = hk_ss_of(u);
		uint32_t again;

		n = hk_units_in_one_superslab(u, end);
		again = ss->purged & hk_units_mask_of(u, n);
		if (again == 0)
			continue;
		ss->purged &= ~again;
		hk_release_note_refault((uint32_t)__builtin_popcount(again), units, ss->purged_at,
					&ss->refaults);
	}
}

static void link_run(struct hk_run_node *run)
{
	unsigned side = run->dirty != 0, t = tier_of(run->units);
	struct tier *tier = &tiers[side][t];

	run->prev = NULL;
	run->next = tier->head;
	if (tier->head != NULL)
		tier->head->prev = run;
	else
		tier->tail = run;
	tier->head = run;
	pool.used[side][t / 64] |= 1ull << t % 64;
}

static void unlink_run(struct hk_run_node *run)
{
	unsigned side = run->dirty != 0, t = tier_of(run->units);
	struct tier *tier = &tiers[side][t];

	if (run->prev != NULL)
		run->prev->next = run->next;
	else
		tier->head = run->next;
	if (run->next != NULL)
		run->next->prev = run->prev;
	else
		tier->tail = run->prev;
	if (tier->head == NULL)
		pool.used[side][t / 64] &= ~(1ull << t % 64);
}

static bool is_pooled(hk_unit unit)
{
	uint32_t word = hk_page_word(unit);

	return hk_word_id(word) == HK_KIND_FREE && (word & HK_WORD_POOLED) != 0;
}

/* What the word tells about the unit's last use stays, for the message of a second free. */
static void set_pooled(hk_unit unit, bool pooled)
{
	uint32_t word = hk_page_word(unit);

	hk_assert(hk_word_id(word) == HK_KIND_FREE);
	hk_page_set(unit, pooled ? word | HK_WORD_POOLED : word & ~HK_WORD_POOLED);
}

/* Makes [unit, unit + units), whose words say so, a run of the pool; its neighbours are not free. */
static void insert_run(hk_unit unit, uint32_t units, uint32_t dirty)
{
	struct hk_run_node *run, *last;

	if (units == 0)
		return;
	run = &hk_unit_meta(unit)->run;
	last = &hk_unit_meta(unit + units - 1)->run;
	*last = (struct hk_run_node){ .unit = unit, .units = units };
	*run = (struct hk_run_node){ .unit = unit, .units = units, .dirty = dirty };
	link_run(run);
	pool.free_units += units;
	pool.dirty_units += dirty;
}

static void remove_run(struct hk_run_node *run)
{
	unlink_run(run);
	pool.free_units -= run->units;
	pool.dirty_units -= run->dirty;
}

/* PO1: coalesces with free neighbours, not across the seam of two windows. */
static void put(hk_unit unit, uint32_t units)
{
	uint32_t dirty = hk_units_count_dirty(unit, units);

	hk_units_count_used(unit, units, false);
	for (uint32_t i = 0; i < units; i++)
		set_pooled(unit + i, true);
	if (unit % HK_WINDOW_UNITS != 0 && is_pooled(unit - 1)) {
		hk_unit before = hk_unit_meta(unit - 1)->run.unit;

		remove_run(&hk_unit_meta(before)->run);
		dirty += hk_unit_meta(before)->run.dirty;
		units += unit - before;
		unit = before;
	}
	if ((unit + units) % HK_WINDOW_UNITS != 0 && is_pooled(unit + units)) {
		struct hk_run_node *behind = &hk_unit_meta(unit + units)->run;

		remove_run(behind);
		units += behind->units;
		dirty += behind->dirty;
	}
	insert_run(unit, units, dirty);
}

/* Takes [unit, unit + units) out of `run`, which holds it; what is left goes back into tiers. */
static void cut(struct hk_run_node *run, hk_unit unit, uint32_t units, struct hk_run *out)
{
	hk_unit first = run->unit, end = run->unit + run->units;
	uint32_t before = unit - first, behind = end - unit - units;
	uint32_t left; /* dirty units that stay; only the shorter side is counted */

	remove_run(run);
	*out = (struct hk_run){ unit, units, hk_units_count_dirty(unit, units),
				hk_units_is_zero(unit, units), 0 };
	left = run->dirty - out->dirty;
	if (before <= behind) {
		uint32_t dirty = hk_units_count_dirty(first, before);

		insert_run(first, before, dirty);
		insert_run(unit + units, behind, left - dirty);
	} else {
		uint32_t dirty = hk_units_count_dirty(unit + units, behind);

		insert_run(first, before, left - dirty);
		insert_run(unit + units, behind, dirty);
	}
	/* PO3: neighbours that come back must not join what is in somebody's hand */
	set_pooled(unit, false);
	set_pooled(unit + units - 1, false);
	hk_units_count_used(unit, units, true);
}

/* The first non-empty tier from `t` on, or TIERS. */
static unsigned next_tier(unsigned side, unsigned t)
{
	for (unsigned word = t / 64; word < TIERS / 64; word++) {
		uint64_t bits = pool.used[side][word];

		if (word == t / 64)
			bits &= ~0ull << t % 64;
		if (bits != 0)
			return word * 64 + (unsigned)__builtin_ctzll(bits);
	}
	return TIERS;
}

/* Among the first runs of a tier: one of at least `units`, in the fullest SuperSlab. */
static struct hk_run_node *fullest(const struct tier *tier, uint32_t units, unsigned looks)
{
	struct hk_run_node *best = NULL, *run = tier->head;
	uint32_t best_used = 0;

	for (unsigned i = 0; i < looks && run != NULL; i++, run = run->next) {
		uint32_t used = hk_ss_of(run->unit)->used;

		if (run->units >= units && (best == NULL || used > best_used)) {
			best = run;
			best_used = used;
		}
	}
	return best;
}

static struct hk_run_node *find(unsigned side, uint32_t units, unsigned looks)
{
	for (unsigned t = next_tier(side, tier_of(units)); t < TIERS; t = next_tier(side, t + 1)) {
		struct hk_run_node *run = fullest(&tiers[side][t], units, looks);

		if (run != NULL)
			return run;
	}
	return NULL;
}

/* Where to cut `units` out of a run: at the first dirty unit, as far as they fit; or where all are
 * zero, as they are at the end of a run that has just grown. */
static hk_unit best_place(const struct hk_run_node *run, uint32_t units, enum hk_pool_wish wish)
{
	hk_unit last = run->unit + run->units - units;
	hk_unit u = run->unit;

	if (wish == HK_WISH_ZERO && hk_units_is_zero(last, units))
		return last;
	if (run->dirty == 0 || run->dirty == run->units)
		return u;
	while (u < last && hk_units_count_dirty(u, 1) == 0)
		u += hk_ss_of(u)->dirty == 0 ? hk_units_in_one_superslab(u, last) : 1;
	return u;
}

/* The first unit from `unit` on whose address is a multiple of `align` units. */
static hk_unit align_unit(hk_unit unit, uint32_t align)
{
	size_t number = (uintptr_t)hk_arena_address(unit) >> HK_UNIT_SHIFT;

	return unit + (hk_unit)(hk_align_up(number, align) - number);
}

/* A unit of small blocks, of a program with so many of them that they soon fill a SuperSlab. */
static bool wants_huge(uint32_t units)
{
	size_t from = hk_option(HK_OPT_HUGE_PAGES);

	return units == 1 && from != 0 && hk_release_live() >= from;
}

/* *huge: the run is of a SuperSlab for hk_arena_fault_huge. */
static struct hk_run_node *find_or_grow(uint32_t units, enum hk_pool_wish wish, bool *huge)
{
	unsigned first_side = wish == HK_WISH_ANY;
	struct hk_run_node *run = find(first_side, units, LOOKS);
	hk_unit unit;
	uint32_t got;

	if (run == NULL)
		run = find(!first_side, units, LOOKS);
	if (run == NULL && wants_huge(units) && hk_arena_grow_huge(&unit)) {
		put(unit, HK_SS_UNITS);
		run = find(1, units, LOOKS);
		*huge = true;
	}
	if (run == NULL && hk_arena_grow(units, &unit, &got)) {
		put(unit, got);
		run = find(0, units, LOOKS);
		if (run == NULL) /* joined a run with dirty units */
			run = find(1, units, LOOKS);
	}
	/* memory is refused: one that a look at the first few of a tier has missed */
	for (unsigned side = 0; side < 2 && run == NULL; side++)
		run = find(side, units, UINT32_MAX);
	return run;
}

bool hk_pool_take(uint32_t units, uint32_t align, enum hk_pool_wish wish, struct hk_run *out)
{
	struct hk_run_node *run;
	bool huge = false;

	hk_lock_take(&pool.lock);
	run = find_or_grow(units + align - 1, wish, &huge);
	if (run != NULL) {
		hk_unit unit =
			align == 1 ? best_place(run, units, wish) : align_unit(run->unit, align);

		cut(run, unit, units, out);
		if (wish != HK_WISH_ZERO) /* who wants zero pages would rather have purged ones */
			note_refaults(unit, units);
		HK_TELE(pool, take, 1);
	}
	leave();
	if (huge)
		hk_arena_fault_huge(out->unit);
	return run != NULL;
}

uint32_t hk_pool_take_batch(uint32_t count, struct hk_run *out)
{
	uint32_t got = 0;
	bool huge = false;

	hk_lock_take(&pool.lock);
	while (got < count) {
		struct hk_run_node *run = find_or_grow(1, HK_WISH_ANY, &huge);

		if (run == NULL)
			break;
		cut(run, best_place(run, 1, HK_WISH_ANY), 1, &out[got]);
		note_refaults(out[got++].unit, 1);
	}
	leave();
	if (huge) /* by a unit of the last one: at most one grows in a batch */
		hk_arena_fault_huge(out[got - 1].unit);
	HK_TELE(pool, take, got);
	return got;
}

/* Free units in the pool from `unit` on. */
static uint32_t free_from(hk_unit unit)
{
	if (unit % HK_WINDOW_UNITS == 0 || !is_pooled(unit))
		return 0;
	return hk_unit_meta(unit)->run.units;
}

/* Maps more behind `end` when nothing but free units lies between it and the end of the arena. */
static void grow_behind(hk_unit end, uint32_t units)
{
	uint32_t have = free_from(end), got;
	hk_unit unit;

	if (have < units && end + have == hk_arena_end() &&
	    hk_arena_grow(units - have, &unit, &got))
		put(unit, got);
}

bool hk_pool_extend(hk_unit end, uint32_t units, struct hk_run *out)
{
	bool fits;

	hk_lock_take(&pool.lock);
	grow_behind(end, units);
	fits = free_from(end) >= units;
	if (fits) {
		cut(&hk_unit_meta(end)->run, end, units, out);
		note_refaults(end, units);
	}
	leave();
	return fits;
}

void hk_pool_give(hk_unit unit, uint32_t units, uint32_t touched)
{
	hk_assert(touched <= units);
	hk_lock_take(&pool.lock);
	hk_units_mark_dirty(unit, touched);
	put(unit, units);
	leave();
	HK_TELE(pool, give, 1);
}

/* The last dirty units in a row of a run, at most `max`. */
static hk_unit last_dirty(const struct hk_run_node *run, uint32_t max, uint32_t *units)
{
	hk_unit end = run->unit + run->units;
	hk_unit u;

	while (hk_units_count_dirty(end - 1, 1) == 0)
		end = hk_ss_of(end - 1)->dirty == 0 ? (hk_unit)hk_align_down(end - 1, HK_SS_UNITS)
						    : end - 1;
	for (u = end - 1; u > run->unit && end - u < max && hk_units_count_dirty(u - 1, 1) != 0;
	     u--)
		;
	*units = end - u;
	return u;
}

/* The first dirty units in a row of a run, at most `max`. */
static hk_unit first_dirty(const struct hk_run_node *run, uint32_t max, uint32_t *units)
{
	hk_unit end = run->unit + run->units, u = run->unit, first;

	while (hk_units_count_dirty(u, 1) == 0)
		u = hk_ss_of(u)->dirty == 0 ? (hk_unit)hk_align_up(u + 1, HK_SS_UNITS) : u + 1;
	for (first = u; u < end && u - first < max && hk_units_count_dirty(u, 1) != 0; u++)
		;
	*units = u - first;
	return first;
}

bool hk_pool_take_dirty(uint32_t max, struct hk_run *out)
{
	struct hk_run_node *run = NULL;
	uint32_t units;

	hk_lock_take(&pool.lock);
	for (unsigned word = TIERS / 64; word-- > 0 && run == NULL;) {
		uint64_t bits = pool.used[1][word];

		/* the longest, and of these the one that has waited longest */
		if (bits != 0)
			run = tiers[1][word * 64 + 63 - (unsigned)__builtin_clzll(bits)].tail;
	}
	if (run != NULL) {
		hk_unit unit = last_dirty(run, max, &units), first;
		uint32_t others = 0;

		if (units < max && units < run->dirty)
			first = first_dirty(run, max, &others);
		if (others > units) {
			unit = first;
			units = others;
		}
		cut(run, unit, units, out);
		out->pages = hk_arena_pages(unit, units, 0);
	}
	leave();
	return run != NULL;
}

void hk_pool_give_purged(const struct hk_run *run, enum hk_purged purged)
{
	hk_lock_take(&pool.lock);
	if (purged != HK_PURGED_NOT)
		hk_units_mark_purged(run->unit, run->units, purged == HK_PURGED_LAZILY);
	put(run->unit, run->units);
	leave();
}

/* The SuperSlabs that lie whole in a run. */
static uint32_t whole_superslabs(const struct hk_run_node *run, hk_unit *first)
{
	hk_unit end = (hk_unit)hk_align_down(run->unit + run->units, HK_SS_UNITS);

	*first = (hk_unit)hk_align_up(run->unit, HK_SS_UNITS);
	return end > *first ? end - *first : 0;
}

/* A run with a whole SuperSlab in it; each is at least as long as one. */
static struct hk_run_node *find_whole(hk_unit *first, uint32_t *units)
{
	for (unsigned side = 0; side < 2; side++) {
		unsigned t = next_tier(side, tier_of(HK_SS_UNITS));

		for (; t < TIERS; t = next_tier(side, t + 1)) {
			struct hk_run_node *run = tiers[side][t].head;

			for (; run != NULL; run = run->next) {
				*units = whole_superslabs(run, first);
				if (*units != 0)
					return run;
			}
		}
	}
	return NULL;
}

size_t hk_pool_unmap(void)
{
	struct hk_run_node *run;
	struct hk_run out;
	hk_unit first;
	uint32_t units;
	size_t sum = 0;

	hk_lock_take(&pool.lock);
	while ((run = find_whole(&first, &units)) != NULL) {
		cut(run, first, units, &out);
		hk_arena_unmap(first, units);
		sum += (size_t)units << HK_UNIT_SHIFT;
	}
	leave();
	return sum;
}

void hk_pool_count(size_t *free_units, size_t *dirty_units)
{
	hk_lock_take(&pool.lock);
	*free_units = pool.free_units;
	*dirty_units = pool.dirty_units;
	leave();
}

static void check_run(const struct hk_run_node *run, unsigned side, unsigned t)
{
	hk_unit end = run->unit + run->units;

	hk_walk(PO2, tier_of(run->units) == t && (run->dirty != 0) == side);
	hk_walk(PO2, run->dirty == hk_units_count_dirty(run->unit, run->units));
	hk_walk(PO1, run->unit % HK_WINDOW_UNITS == 0 || !is_pooled(run->unit - 1));
	hk_walk(PO1, end % HK_WINDOW_UNITS == 0 || !is_pooled(end));
	hk_walk(PO1, hk_unit_meta(end - 1)->run.unit == run->unit);
	for (hk_unit u = run->unit; u < end; u++) {
		hk_walk(PO3, is_pooled(u));
		hk_walk(AR3, hk_units_is_zero(u, 1) || hk_arena_pages(u, 1, 0) != 0);
	}
}

void hk_pool_check(void)
{
	size_t free_units = 0, dirty_units = 0;

	for (unsigned side = 0; side < 2; side++) {
		for (unsigned t = next_tier(side, 0); t < TIERS; t = next_tier(side, t + 1)) {
			const struct hk_run_node *run = tiers[side][t].head;

			for (; run != NULL; run = run->next) {
				check_run(run, side, t);
				free_units += run->units;
				dirty_units += run->dirty;
			}
		}
	}
	hk_walk(PO2, free_units == pool.free_units);
	hk_walk(PO4, dirty_units == pool.dirty_units);
}

void hk_pool_lock(void) { hk_lock_take(&pool.lock); }
void hk_pool_unlock(void) { hk_lock_drop(&pool.lock); }
void hk_pool_reset(void) { hk_lock_reset(&pool.lock); }

void hk_pool_mark(void)
{
	for (unsigned side = 0; side < 2; side++) {
		for (unsigned t = next_tier(side, 0); t < TIERS; t = next_tier(side, t + 1)) {
			const struct hk_run_node *run = tiers[side][t].head;

			for (; run != NULL; run = run->next)
				for (uint32_t i = 0; i < run->units; i++)
					hk_page_mark(run->unit + i);
		}
	}
}

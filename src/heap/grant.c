/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "base/options.h"
#include "heap/heap.h"
#include "superslab/release.h"

/* A bin begins with this many bytes, at least one block. */
#define FIRST_BYTES ((size_t)1024)
/* The budget of a heap's bins: a quarter of what is out (docs/experiments/0003) and its share in half of
 * the bound (docs/experiments/0013, 0018), at least this much. */
#define MIN_BUDGET (64 * HK_KiB)
/* A bin that overflows so often in a row, and once more, is worth less, but not less than this: nobody takes
 * from it. Where blocks come and go at random, two or three times in a row mean nothing
 * (docs/experiments/0007, 0018). */
#define IN_A_ROW    3
#define LEAST_BYTES (16 * HK_KiB)
/* A heap that had this much out is spent when nearly all of it has been freed: that it takes as much
 * again soon is no reason to keep some, and each block in a bin may keep a slab from going back
 * (docs/experiments/0011). */
#define SPENT_PEAK  ((int64_t)(16 * HK_MiB))
#define SPENT_SHARE 256
/* One bin alone: a row of blocks this long is refilled seldom enough; and mistakes that are found when a block
 * leaves the bin should not wait for longer. */
#define MOST_BYTES (1 * HK_MiB)
/* Refused grants between two looks for bins that idle (docs/experiments/0004). */
#define REFUSALS 64u

static size_t budget(const struct hk_heap *h)
{
	size_t out = h->out > 0 ? (size_t)h->out : 0;
	size_t share = hk_option(HK_OPT_BOUND) / 2 / hk_max(hk_heaps_running(), 1);

	return hk_min(hk_max(out / 4 + share, MIN_BUDGET), hk_option(HK_OPT_BIN_BYTES));
}

/* H5: every change of a limit goes through here. */
static void set_limit(struct hk_heap *h, unsigned bin, uint32_t blocks)
{
	struct hk_bin *b = &h->face.bin[bin];
	int64_t bytes = ((int64_t)blocks - b->limit) * (int64_t)hk_class_size(bin);

	b->room += blocks - b->limit;
	b->limit = blocks;
	h->granted += (size_t)bytes;
	hk_heap_count_granted(h, bytes);
}

static void halve(struct hk_heap *h, unsigned bin)
{
	const struct hk_bin *b = &h->face.bin[bin];
	uint32_t half = b->limit / 2;

	if (b->limit - b->room > half)
		hk_heap_flush(h, bin, half, NULL);
	set_limit(h, bin, half);
}

/* Bins that were neither filled nor flushed since the last look give up half of their limit. */
static void take_from_idle(struct hk_heap *h)
{
	h->refusals = 0;
	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		struct hk_heap_class *class = &h->class[bin];

		if (!class->refilled && !class->flushed && h->face.bin[bin].limit != 0)
			halve(h, bin);
		class->refilled = class->flushed = false;
	}
}

static void note_refusal(struct hk_heap *h)
{
	if (++h->refusals >= REFUSALS)
		take_from_idle(h);
}

/* `more` blocks, if the budget allows. */
static void grow(struct hk_heap *h, unsigned bin, uint32_t more)
{
	uint32_t limit = h->face.bin[bin].limit + more;

	if (limit * hk_class_size(bin) > MOST_BYTES ||
	    more * hk_class_size(bin) + h->granted > budget(h))
		note_refusal(h);
	else
		set_limit(h, bin, limit);
}

/* Once for each time that it comes to that. */
static bool is_just_spent(struct hk_heap *h)
{
	int64_t rest;

	if (h->out > h->peak)
		h->peak = h->out;
	if (h->peak < SPENT_PEAK)
		return false;
	rest = h->peak / SPENT_SHARE + (int64_t)h->granted;
	if (h->out > rest || hk_option(HK_OPT_TINY_TCACHE_CAP) != 0)
		return false;
	h->peak = 0;
	return true;
}

/* What is freed from now on goes to its slabs at once, until a bin is filled again. */
static void give_up_bins(struct hk_heap *h)
{
	h->spent = true;
	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		hk_heap_flush(h, bin, 0, NULL);
		set_limit(h, bin, 0);
	}
}

void hk_heap_adapt(struct hk_heap *h, unsigned bin, bool overflow)
{
	const struct hk_heap_class *class = &h->class[bin];
	uint32_t limit = h->face.bin[bin].limit;
	size_t size = hk_class_size(bin), bytes = limit * size, may;
	uint32_t cap = (uint32_t)hk_option(HK_OPT_TINY_TCACHE_CAP);

	if (overflow && is_just_spent(h)) {
		give_up_bins(h);
	} else if (cap != 0) {
		set_limit(h, bin, cap);
	} else if (limit == 0) {
		if (!overflow || !h->spent)
			grow(h, bin, (uint32_t)hk_max(FIRST_BYTES / size, 1));
	} else if (overflow && class->overflows >= IN_A_ROW && bytes > LEAST_BYTES) {
		halve(h, bin); /* the program wants none of them back */
	} else if (overflow && h->granted > (may = budget(h))) { /* less is out than when granted */
		if (bytes > may / 4)
			halve(h, bin);
		note_refusal(h);
	} else if (class->refilled) {
		grow(h, bin, limit);
	}
}

void hk_heap_ungrant(struct hk_heap *h, unsigned bin) { set_limit(h, bin, 0); }

/* A heap's share; and all BigCaches together hold at most BOUND, since those of threads that sleep can't
 * be taken back. */
void hk_heap_grant_bigcache(struct hk_heap *h, uint32_t units)
{
	static _Atomic int64_t sum; /* bytes */
	size_t bound = hk_option(HK_OPT_BOUND);
	size_t share = bound / 2 / hk_max(hk_heaps_running(), 1);
	int64_t bytes, others;

	others = atomic_load_explicit(&sum, memory_order_relaxed) -
		 (int64_t)(h->bigcache.limit * HK_UNIT_BYTES);
	share = hk_min(share, bound - hk_min(bound, others > 0 ? (size_t)others : 0));
	if (!hk_option(HK_OPT_BIGCACHE_L25))
		share = 0;
	units = (uint32_t)hk_min(units, share >> HK_UNIT_SHIFT);
	if (units < h->bigcache.units)
		hk_bigcache_empty(&h->bigcache);
	bytes = ((int64_t)units - h->bigcache.limit) * (int64_t)HK_UNIT_BYTES;
	h->bigcache.limit = units;
	atomic_fetch_add_explicit(&sum, bytes, memory_order_relaxed);
	hk_heap_count_granted(h, bytes);
}

void hk_heap_age(struct hk_heap *h)
{
	if (hk_option(HK_OPT_TINY_TCACHE_CAP) == 0)
		take_from_idle(h);
	if (!h->bigcache.used || !hk_option(HK_OPT_BIGCACHE_L25))
		hk_heap_grant_bigcache(h, 0);
	h->bigcache.used = false;
}

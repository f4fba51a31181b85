/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "base/options.h"
#include "heap/heap.h"
#include "superslab/release.h"

/* A bin begins with this many bytes, at least one block. */
#define FIRST_BYTES ((size_t)1024)
/* The budget of a heap's bins: a quarter of what is out (docs/experiments/0003); or its share in an
 * sixth of the bound, at least this much (docs/experiments/0008). */
#define MIN_BUDGET (64 * HK_KiB)
/* A bin that overflows twice in a row is worth less, but not less than this (docs/experiments/0007). */
#define LEAST_BYTES (16 * HK_KiB)
/* Refused grants between two looks for bins that idle (docs/experiments/0004). */
#define REFUSALS 64u

static size_t budget(const struct hk_heap *h)
{
	size_t out = h->out > 0 ? (size_t)h->out : 0;
	size_t share = hk_option(HK_OPT_BOUND) / 6 / hk_max(hk_heaps_running(), 1);

	return hk_min(hk_max(hk_max(out / 4, share), MIN_BUDGET), hk_option(HK_OPT_BIN_BYTES));
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
	if (more * hk_class_size(bin) + h->granted > budget(h))
		note_refusal(h);
	else
		set_limit(h, bin, h->face.bin[bin].limit + more);
}

void hk_heap_adapt(struct hk_heap *h, unsigned bin, bool overflow)
{
	const struct hk_heap_class *class = &h->class[bin];
	uint32_t limit = h->face.bin[bin].limit;
	size_t size = hk_class_size(bin), bytes = limit * size, may;
	uint32_t cap = (uint32_t)hk_option(HK_OPT_TINY_TCACHE_CAP);

	if (cap != 0) {
		set_limit(h, bin, cap);
	} else if (limit == 0) {
		grow(h, bin, (uint32_t)hk_max(FIRST_BYTES / size, 1));
	} else if (overflow && class->flushed && !class->refilled && bytes > LEAST_BYTES) {
		halve(h, bin); /* the second in a row: the program wants none of them back */
	} else if (overflow && h->granted > (may = budget(h))) { /* less is out than when granted */
		if (bytes > may / 4)
			halve(h, bin);
		note_refusal(h);
	} else if (class->refilled) {
		grow(h, bin, limit);
	}
}

void hk_heap_ungrant(struct hk_heap *h, unsigned bin) { set_limit(h, bin, 0); }

void hk_heap_grant_bigcache(struct hk_heap *h, uint32_t units)
{
	size_t share = hk_option(HK_OPT_BOUND) / 2 / hk_max(hk_heaps_running(), 1);
	int64_t bytes;

	if (!hk_option(HK_OPT_BIGCACHE_L25))
		share = 0;
	units = (uint32_t)hk_min(units, share >> HK_UNIT_SHIFT);
	if (units < h->bigcache.units)
		hk_bigcache_empty(&h->bigcache);
	bytes = ((int64_t)units - h->bigcache.limit) * (int64_t)HK_UNIT_BYTES;
	h->bigcache.limit = units;
	hk_heap_count_granted(h, bytes);
}

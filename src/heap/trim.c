/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "base/options.h"
#include "heap/heap.h"
#include "os/os.h"
#include "slab/holes.h"

/* A heap has fallen when so much of what it had is free: a half; in lean an eighth. */
#define FALL      2
#define FALL_LEAN 8
/* What is wanted again this soon should have stayed; then no trim for a while. */
#define REGRET_NS 1000000000ull
#define PAUSE_NS  10000000000ull
/* Of what a trim has given back, a part of one in so many may be wanted again. */
#define REGRET_PART 8

/* Blocks of which a page has more are left: their list takes longer to walk than their pages to fault. */
#define SMALL 8

/* Whole pages are free in most cases where so many blocks are: all, if a page is to be made of many. Not
 * again, before a quarter of the others is free, too. */
static bool is_thin(const struct hk_slab *s)
{
	size_t size = hk_slab_block_bytes(s), page = hk_os_page();

	if (size < page / SMALL || s->used + s->trimmed_at / 4u >= s->trimmed_at)
		return false;
	return size >= 2 * page || s->used * page <= s->carved * size / 2;
}

static size_t trim_list(struct hk_slab *s, bool all)
{
	size_t sum = 0;

	for (; s != NULL; s = s->next) {
		if (all || is_thin(s))
			sum += hk_slab_trim(s);
	}
	return sum;
}

size_t hk_heap_trim_slabs(void)
{
	size_t sum = 0;

	for (uint32_t id = HK_FIRST_ID; id < hk_heap_ids(); id++) {
		struct hk_heap *h = hk_heap_by_id(id);

		if (!hk_lock_try(&h->lock))
			continue;
		for (unsigned bin = 1; bin < HK_BINS; bin++)
			sum += trim_list(h->class[bin].partial.head, true);
		hk_lock_drop(&h->lock);
	}
	return sum;
}

static bool has_fallen(struct hk_heap *h)
{
	int64_t part = hk_option(HK_OPT_SS_MEM_LEAN) != 0 ? FALL_LEAN : FALL;
	int64_t fall;

	if (h->out > h->crest)
		h->crest = h->out;
	fall = h->crest - h->out;
	return fall >= h->crest / part && fall >= (int64_t)hk_option(HK_OPT_BOUND);
}

static bool is_regretted(const struct hk_heap *h) { return h->reopened > h->trimmed / REGRET_PART; }

void hk_heap_note_reopened(struct hk_heap *h, size_t bytes)
{
	bool before = is_regretted(h);

	h->reopened += bytes;
	if (before || !is_regretted(h))
		return;
	if (hk_os_now_ns() - h->trimmed_at < REGRET_NS)
		h->trimmed_at += PAUSE_NS;
}

static void begin(struct hk_heap *h)
{
	uint64_t now = hk_os_now_ns();

	if (h->trimmed_at > now)
		return; /* regretted: the fall is looked at again then */
	h->crest = h->out;
	h->trimmed_at = now;
	h->trimmed = h->reopened = 0;
	h->trim_bin = HK_BINS - 1;
}

void hk_heap_trim_fallen(struct hk_heap *h)
{
	if (h->trim_bin == 0 && has_fallen(h))
		begin(h);
	while (h->trim_bin != 0 && h->class[h->trim_bin].partial.head == NULL)
		h->trim_bin--;
	if (h->trim_bin != 0)
		h->trimmed += trim_list(h->class[h->trim_bin--].partial.head, false);
}

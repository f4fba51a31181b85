/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "base/options.h"
#include "heap/heap.h"
#include "os/os.h"
#include "slab/holes.h"

/* In lean memory, pages in which only free blocks lie go back as the heap's blocks get fewer, as by a trim:
 * a pass over its slabs each time that as much has been freed as may be held. What only swings by less
 * never pays, since it is counted from the most that was out. */
static bool is_wanted(void)
{
	return hk_option(HK_OPT_SS_MEM_LEAN) != 0 &&
	       hk_option(HK_OPT_SS_MEM_LEAN_DECOMMIT) == HK_DECOMMIT_DONTNEED;
}

static bool is_due(struct hk_heap *h)
{
	int64_t share, fallen = h->thin_from - h->out;

	if (fallen <= 0) {
		h->thin_from = h->out;
		return false;
	}
	if (fallen < (int64_t)hk_option(HK_OPT_BOUND) || !is_wanted())
		return false;
	share = h->out / 100 * (int64_t)hk_option(HK_OPT_BOUND_SHARE);
	return fallen >= share;
}

/* With as many blocks out as it has pages, hardly a page will be without one. Small blocks are many to walk
 * over: not again, before half of those are free that were out the last time. */
static bool is_thin(struct hk_slab *s)
{
	size_t page = hk_os_page();

	if (s->used >= s->units * (HK_UNIT_BYTES / page)) {
		s->thinned = UINT16_MAX;
		return false;
	}
	return s->used < (hk_slab_block_bytes(s) < page ? s->thinned / 2 : s->thinned);
}

/* One class at a time, that no free takes too long. */
void hk_heap_thin(struct hk_heap *h)
{
	struct hk_slab *s = NULL;

	if (h->thin_bin == 0) {
		if (HK_LIKELY(!is_due(h)))
			return;
		h->thin_from = h->out;
		h->thin_bin = HK_BINS - 1;
	}
	while (s == NULL && h->thin_bin != 0)
		s = h->class[h->thin_bin--].partial.head;
	for (; s != NULL; s = s->next) {
		if (!is_thin(s))
			continue;
		s->thinned = s->used;
		hk_slab_trim(s);
	}
}

/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "debug/check_heaps.h"

#include "base/check.h"
#include "heap/heap.h"
#include "heap/quarantine.h"
#include "superslab/pool.h"
#include "superslab/release.h"

/* What the walk adds up, to hold against the accounts. */
struct sums {
	int64_t granted;
	int64_t idle_bytes, warm_bytes;
};

static void check_list(const struct hk_heap *h, const struct hk_slab_list *list, bool partial,
		       struct sums *sums, int64_t *out)
{
	const struct hk_slab *before = NULL;

	for (struct hk_slab *s = list->head; s != NULL; before = s, s = s->next) {
		hk_slab_check(s);
		hk_walk(H4, atomic_load(&s->owner) == h->id);
		hk_walk(H4, s->prev == before);
		hk_walk(H4, ((s->flags & HK_SLAB_PARTIAL) != 0) == partial);
		hk_walk(H4, hk_slab_has_blocks(s) == partial);
		hk_walk(RM2, hk_remote_count(atomic_load(&s->remote)) <= s->used);
		*out += (int64_t)(s->used * hk_slab_block_bytes(s));
		if ((s->flags & HK_SLAB_IDLE) != 0) {
			hk_walk(H4, s->used == 0);
			sums->idle_bytes += (int64_t)hk_align_up(s->carved * hk_slab_block_bytes(s),
								 HK_UNIT_BYTES);
		}
	}
	hk_walk(H4, list->tail == before);
}

/* H1, H2: only the thread itself may look at its bins. */
static void check_bins(const struct hk_heap *h)
{
	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		const struct hk_bin *b = &h->face.bin[bin];
		const struct hk_block *in = b->head;

		for (uint32_t count = b->limit - b->room; count != 0; count--) {
			hk_walk(H2, in != HK_END && in->tag == HK_TAG);
			hk_walk(H2, hk_page_word(hk_arena_unit(in)) == hk_word_slab(h->id, bin));
			in = in->link;
		}
		hk_walk(H2, in == HK_END);
	}
}

static void check_grants(const struct hk_heap *h, struct sums *sums)
{
	size_t granted = 0;

	for (unsigned bin = 1; bin < HK_BINS; bin++)
		granted += h->face.bin[bin].limit * hk_class_size(bin);
	hk_walk(H5, granted == h->granted);
	sums->granted += (int64_t)(granted + h->bigcache.limit * HK_UNIT_BYTES) - h->granted_unsaid;
}

static void check_parked(const struct hk_heap *h)
{
	for (unsigned bin = 1; bin < HK_BINS; bin++)
		hk_walk(H6, h->face.bin[bin].head == HK_END && h->face.bin[bin].limit == 0);
	for (uint32_t i = 0; i < HK_WAYS; i++)
		hk_walk(H6, h->way[i].chain.count == 0);
	hk_walk(H6, h->bigcache.count == 0);
}

static void check_heap(struct hk_heap *h, struct sums *sums)
{
	int64_t out = 0;

	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		check_list(h, &h->class[bin].partial, true, sums, &out);
		check_list(h, &h->class[bin].full, false, sums, &out);
	}
	hk_walk(H4, out == h->out);
	for (uint32_t i = 0; i < h->warm_units; i++) {
		hk_walk(PO3, hk_word_id(hk_page_word(h->warm[i].unit)) == HK_KIND_FREE);
		sums->warm_bytes += h->warm[i].dirty ? (int64_t)HK_UNIT_BYTES : 0;
	}
	if (h == hk_front.heap && !hk_heap_is_direct(h))
		check_bins(h);
	if (atomic_load(&h->state) == HK_HEAP_PARKED && !h->frozen)
		check_parked(h);
	check_grants(h, sums);
	if (h->hardened)
		hk_quarantine_check(h);
}

/* AR1, AR2: a word that is not 0 has records behind it. */
static void check_units(hk_unit unit, hk_unit end)
{
	for (; unit < end; unit++)
		hk_walk(AR2, hk_page_word(unit) == 0 || hk_ss_of(unit) != NULL);
}

bool hk_check_heaps(void)
{
	struct sums sums = { 0, 0, 0 };

	if (HK_CHECK_LEVEL < 3)
		return false;
	hk_heap_lock_all();
	for (uint32_t id = HK_FIRST_ID; id < hk_heap_ids(); id++)
		check_heap(hk_heap_by_id(id), &sums);
	check_units(0, hk_arena_end());
	check_units(HK_ARENA_UNITS, HK_ARENA_UNITS + hk_arena_windows() * HK_WINDOW_UNITS);
	hk_pool_check();
	hk_walk(H5, sums.granted == atomic_load(&hk_granted));
	hk_heap_unlock_all();
	return true;
}

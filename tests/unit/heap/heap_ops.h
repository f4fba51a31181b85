/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_TESTS_HEAP_OPS_H
#define HK_TESTS_HEAP_OPS_H
/* For tests of the heap floor: malloc and free as the floor above makes them of bins, refill, flush
 * and mail; and what must be so of accounts. */
#include "debug/check_heaps.h"
#include "fake_os.h"
#include "heap/heap.h"
#include "heap/quarantine.h"
#include "superslab/pool.h"
#include "superslab/release.h"
#include "unit.h"

#define MALLOC ((struct hk_offence){ "malloc", NULL })
#define FREE   ((struct hk_offence){ "free", NULL })

static inline void *h_malloc(size_t n)
{
	struct hk_heap *h = hk_heap_here();
	unsigned bin = hk_class_bin(n);
	struct hk_bin *b = &h->face.bin[bin];
	struct hk_block *p;

	if (hk_heap_is_direct(h))
		return hk_direct_take(h, bin, MALLOC);
	if (b->head == HK_END && !hk_heap_refill(h, bin, MALLOC))
		return NULL;
	p = b->head;
	if (p->tag != HK_TAG)
		hk_heap_die_damaged(MALLOC, p, hk_class_size(bin));
	b->head = p->link;
	p->tag = 0;
	b->room++;
	return p;
}

static inline struct hk_slab *h_slab(const void *p) { return hk_slab_of(hk_arena_unit(p)); }

static inline void h_free(void *p)
{
	struct hk_heap *h = hk_heap_here();
	struct hk_slab *s = h_slab(p);
	struct hk_heap *owner = hk_heap_by_id(atomic_load(&s->owner));
	struct hk_bin *b = &h->face.bin[s->bin];
	struct hk_block *block = p;

	if (hk_heap_is_direct(owner)) {
		hk_direct_free(owner, s, p, FREE);
	} else if (owner != h) {
		hk_mail_free(h, s, p, FREE);
	} else {
		block->link = b->head;
		block->tag = HK_TAG;
		b->head = block;
		if ((int32_t)--b->room < 0)
			hk_heap_overflow(h, s->bin, NULL);
	}
}

/* Blocks in a bin, by the list itself. */
static inline uint32_t h_count(const struct hk_bin *b)
{
	uint32_t n = 0;

	for (const struct hk_block *in = b->head; in != HK_END; in = in->link)
		n++;
	return n;
}

static inline int64_t h_idle_bytes(const struct hk_slab_list *list)
{
	int64_t sum = 0;

	for (const struct hk_slab *s = list->head; s != NULL; s = s->next)
		if (s->flags & HK_SLAB_IDLE)
			sum += (int64_t)hk_align_up(s->carved * hk_slab_block_bytes(s),
						    HK_UNIT_BYTES);
	return sum;
}

/* The walker (check level 3), and at every level the accounts D and grants. Nobody else runs. */
static inline void h_check(void)
{
	size_t free_units, dirty;
	int64_t d, granted = 0;

	t_equal(hk_check_heaps(), HK_CHECK_LEVEL >= 3);
	hk_pool_count(&free_units, &dirty);
	d = (int64_t)(dirty * HK_UNIT_BYTES);
	for (uint32_t id = HK_FIRST_ID; id < hk_heap_ids(); id++) {
		const struct hk_heap *h = hk_heap_by_id(id);

		for (uint32_t i = 0; i < h->warm_units; i++)
			d += h->warm[i].dirty ? (int64_t)HK_UNIT_BYTES : 0;
		for (unsigned bin = 1; bin < HK_BINS; bin++)
			d += h_idle_bytes(&h->class[bin].partial);
		if (h->hardened)
			d += (int64_t)h->quarantine->bytes - h->held_unsaid;
		granted += (int64_t)(h->granted + h->bigcache.limit * HK_UNIT_BYTES) -
			   h->granted_unsaid;
	}
	t_equal(d, atomic_load(&hk_dirty));
	t_equal(granted, atomic_load(&hk_granted)); /* H5 */
}

/* What the accounts O and F come to, when every heap says what it kept to itself. */
static inline void h_say_all(void)
{
	for (uint32_t id = HK_FIRST_ID; id < hk_heap_ids(); id++) {
		struct hk_heap *h = hk_heap_by_id(id);

		hk_lock_take(&h->lock);
		hk_heap_say_all(h);
		hk_lock_drop(&h->lock);
	}
}

/* fn(arg) in a thread, until it has ended. */
static inline void h_in_thread(void *(*fn)(void *), void *arg) { t_join(t_thread(fn, arg)); }

#endif

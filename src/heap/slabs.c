/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "base/options.h"
#include "base/tele.h"
#include "heap/heap.h"
#include "heap/quarantine.h"
#include "superslab/release.h"

/* Units taken under one pool lock, for a heap that grows. */
#define BATCH_MAX 8u

static struct hk_slab_list *list_of(struct hk_heap *h, const struct hk_slab *s, bool partial)
{
	return partial ? &h->class[s->bin].partial : &h->class[s->bin].full;
}

static void push(struct hk_slab_list *list, struct hk_slab *s)
{
	s->prev = NULL;
	s->next = list->head;
	if (list->head != NULL)
		list->head->prev = s;
	else
		list->tail = s;
	list->head = s;
}

static void remove(struct hk_slab_list *list, struct hk_slab *s)
{
	if (s->prev != NULL)
		s->prev->next = s->next;
	else
		list->head = s->next;
	if (s->next != NULL)
		s->next->prev = s->prev;
	else
		list->tail = s->prev;
}

static int64_t touched_bytes(const struct hk_slab *s)
{
	return (int64_t)hk_align_up(s->carved * hk_slab_block_bytes(s), HK_UNIT_BYTES);
}

/* D counts an empty slab that its heap keeps. */
static void set_idle(struct hk_heap *h, struct hk_slab *s, bool idle)
{
	if (((s->flags & HK_SLAB_IDLE) != 0) == idle)
		return;
	s->flags ^= HK_SLAB_IDLE;
	h->idle_slabs += idle ? 1u : -1u;
	hk_dirty_add(idle ? touched_bytes(s) : -touched_bytes(s));
}

void hk_heap_list_slab(struct hk_heap *h, struct hk_slab *s)
{
	bool partial = hk_slab_has_blocks(s);

	s->flags = (uint8_t)((s->flags & ~HK_SLAB_PARTIAL) | (partial ? HK_SLAB_PARTIAL : 0));
	push(list_of(h, s, partial), s);
	h->slabs++;
}

void hk_heap_unlist_slab(struct hk_heap *h, struct hk_slab *s)
{
	set_idle(h, s, false);
	remove(list_of(h, s, (s->flags & HK_SLAB_PARTIAL) != 0), s);
	h->slabs--;
}

void hk_heap_relist_slab_now(struct hk_heap *h, struct hk_slab *s)
{
	bool is_partial = (s->flags & HK_SLAB_PARTIAL) != 0;
	bool partial = hk_slab_has_blocks(s);

	if (s->used != 0)
		set_idle(h, s, false);
	if (is_partial != partial) {
		remove(list_of(h, s, is_partial), s);
		h->slabs--;
		hk_heap_list_slab(h, s);
	}
	if (s->used == 0 && (s->flags & HK_SLAB_IDLE) == 0)
		hk_heap_retire_slab(h, s);
}

static void note_spare(struct hk_heap *h, bool spare)
{
	atomic_store_explicit(&h->spare, spare, memory_order_relaxed);
}

/* A unit that is free again, all of whose words say so. */
static void give_units(struct hk_heap *h, hk_unit unit, uint32_t units, uint32_t touched)
{
	if (units == 1 && h->warm_units < hk_min(hk_option(HK_OPT_WARM_UNITS), HK_WARM_MAX)) {
		h->warm[h->warm_units++] = (struct hk_warm_unit){ unit, true };
		hk_dirty_add((int64_t)HK_UNIT_BYTES);
		note_spare(h, true);
		return;
	}
	hk_pool_give(unit, units, touched);
}

uint32_t hk_heap_unmake_slab(struct hk_heap *h, struct hk_slab *s)
{
	if (h->hardened) {
		const void *damage = hk_hard_slab_find_damage(s);

		if (HK_UNLIKELY(damage != NULL))
			hk_heap_die_damaged((struct hk_offence){ "free", NULL }, damage,
					    hk_hard_slab_usable(s));
		hk_hard_slab_spare(&h->quarantine->spares, hk_hard_slab_unmake(s));
	}
	return hk_slab_unmake(s);
}

static void unmake(struct hk_heap *h, struct hk_slab *s)
{
	uint32_t touched;

	hk_heap_unlist_slab(h, s);
	touched = hk_heap_unmake_slab(h, s);
	give_units(h, s->unit, s->units, touched);
}

void hk_heap_retire_slab(struct hk_heap *h, struct hk_slab *s)
{
	struct hk_slab_list *partial = &h->class[s->bin].partial;
	bool alone = partial->head == s && partial->tail == s;

	hk_assert(s->used == 0);
	if (!hk_remote_is_quiet(s))
		return; /* a sender holds its token: the drain comes by here again */
	if (alone && s->units == 1) {
		set_idle(h, s, true); /* the class is in use: it will want it again */
		note_spare(h, true);
	} else {
		unmake(h, s);
	}
}

size_t hk_heap_shed(struct hk_heap *h)
{
	size_t sum = 0;

	if (!atomic_load_explicit(&h->spare, memory_order_relaxed))
		return 0;
	note_spare(h, false);

	for (unsigned bin = 1; bin < HK_BINS && h->idle_slabs != 0; bin++) {
		struct hk_slab *s, *next;

		for (s = h->class[bin].partial.head; s != NULL && h->idle_slabs != 0; s = next) {
			next = s->next;
			if ((s->flags & HK_SLAB_IDLE) == 0)
				continue;
			sum += s->units * HK_UNIT_BYTES;
			hk_heap_unlist_slab(h, s);
			hk_pool_give(s->unit, s->units, hk_heap_unmake_slab(h, s));
		}
	}
	while (h->warm_units != 0) {
		const struct hk_warm_unit *w = &h->warm[--h->warm_units];

		if (w->dirty)
			hk_dirty_add(-(int64_t)HK_UNIT_BYTES);
		hk_pool_give(w->unit, 1, w->dirty ? 1 : 0);
		sum += HK_UNIT_BYTES;
	}
	return sum;
}

/* One unit from the warm pool, which is filled up by a batch when the heap is growing. */
static bool take_unit(struct hk_heap *h, struct hk_run *run)
{
	struct hk_run batch[BATCH_MAX];
	uint32_t room = (uint32_t)hk_min(hk_option(HK_OPT_WARM_UNITS), HK_WARM_MAX);
	uint32_t want = 1 + (uint32_t)hk_min(hk_min(h->slabs / 16, room), BATCH_MAX - 1);
	uint32_t got;

	if (h->warm_units != 0) {
		const struct hk_warm_unit *w = &h->warm[--h->warm_units];

		if (w->dirty)
			hk_dirty_add(-(int64_t)HK_UNIT_BYTES);
		*run = (struct hk_run){
			.unit = w->unit, .units = 1, .dirty = w->dirty, .zero = !w->dirty
		};
		HK_TELE(heap, warm_hit, 1);
		return true;
	}
	HK_TELE(heap, warm_miss, 1);
	got = hk_pool_take_batch(want, batch);
	if (got == 0)
		return false;
	*run = batch[0];
	if (got > 1)
		note_spare(h, true);
	for (uint32_t i = got; i-- > 1;) {
		h->warm[h->warm_units++] = (struct hk_warm_unit){ batch[i].unit, !batch[i].zero };
		if (!batch[i].zero)
			hk_dirty_add((int64_t)HK_UNIT_BYTES);
	}
	return true;
}

static struct hk_slab *make_slab(struct hk_heap *h, unsigned bin)
{
	uint32_t units = hk_classes[bin].units;
	struct hk_hard_slab *record = NULL;
	struct hk_run run;
	struct hk_slab *s;

	if (h->hardened) {
		record = hk_hard_slab_record(&h->quarantine->spares, bin);
		if (record == NULL)
			return NULL;
	}
	if (units == 1 ? !take_unit(h, &run) : !hk_pool_take(units, 1, HK_WISH_ANY, &run)) {
		if (record != NULL)
			hk_hard_slab_spare(&h->quarantine->spares, record);
		return NULL;
	}
	s = hk_slab_make(bin, h->id, run.unit, run.zero);
	if (record != NULL)
		hk_hard_slab_make(s, record);
	hk_heap_list_slab(h, s);
	return s;
}

struct hk_slab *hk_heap_find_slab(struct hk_heap *h, unsigned bin)
{
	struct hk_slab_list *partial = &h->class[bin].partial;

	if (partial->head == NULL && !hk_mailbox_is_empty(&h->mailbox))
		hk_mail_drain(h);
	if (partial->head == NULL && !hk_heap_adopt(h, bin))
		return make_slab(h, bin);
	return partial->head;
}

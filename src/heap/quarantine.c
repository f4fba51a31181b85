/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "heap/quarantine.h"

#include "os/os.h"
#include "superslab/meta.h"
#include "superslab/release.h"

struct hk_quarantine *hk_quarantine_new(void)
{
	struct hk_quarantine *q = hk_meta_alloc(sizeof(*q), alignof(max_align_t));

	if (q != NULL)
		q->random = hk_os_random();
	return q;
}

void *hk_hard_take(struct hk_heap *h, unsigned bin, struct hk_offence where)
{
	struct hk_slab *s;
	bool intact = true;
	void *p = NULL;

	hk_lock_take(&h->lock);
	s = hk_heap_find_slab(h, bin);
	if (s != NULL) {
		p = hk_hard_slab_take(s, &h->quarantine->random, &intact);
		hk_heap_relist_slab(h, s);
		hk_heap_count_out(h, (int64_t)hk_class_size(bin));
		hk_heap_note_blocks_out(h, 1);
	}
	hk_lock_drop(&h->lock);
	if (HK_UNLIKELY(!intact))
		hk_heap_die_damaged(where, p, hk_class_size(bin) - HK_CANARY_BYTES);
	return p;
}

/* In the ring or no more: part of F and D. */
static void count_waiting(struct hk_heap *h, int64_t bytes)
{
	h->quarantine->bytes += (size_t)bytes;
	hk_heap_count_flying(h, bytes);
	hk_heap_count_held(h, bytes);
}

/* The oldest block may be taken again; its slab may be empty now, and go. */
static void settle_oldest(struct hk_heap *h)
{
	struct hk_quarantine *q = h->quarantine;
	void *p = q->block[q->first];
	struct hk_slab *s = hk_slab_of(hk_arena_unit(p));
	int64_t bytes = (int64_t)hk_slab_block_bytes(s);

	q->first = (q->first + 1) % HK_QUARANTINE_BLOCKS;
	q->count--;
	count_waiting(h, -bytes);
	hk_heap_count_out(h, -bytes);
	hk_hard_slab_settle(s, p);
	hk_heap_relist_slab(h, s);
}

static void add_block(struct hk_heap *h, void *p, size_t bytes)
{
	struct hk_quarantine *q = h->quarantine;

	while (q->count == HK_QUARANTINE_BLOCKS ||
	       (q->count != 0 && q->bytes + bytes > HK_QUARANTINE_BYTES))
		settle_oldest(h);
	q->block[(q->first + q->count++) % HK_QUARANTINE_BLOCKS] = p;
	count_waiting(h, (int64_t)bytes);
}

/* Between the look without the lock and the lock: is s what it was, and p out? A slab with a block
 * out can't go: so if it went, p was not out then. */
static bool is_out(const struct hk_heap *h, const struct hk_slab *s, const void *p)
{
	hk_unit unit = hk_arena_unit(p);
	uint32_t word = hk_page_word(unit);

	return word == (hk_word_slab(h->id, s->bin) | HK_WORD_HARDENED) && hk_slab_of(unit) == s &&
	       hk_slab_inside(s, p) == 0 && hk_hard_slab_is_out(s, p);
}

/* The quarantine must not pin the pages of many slabs that have no live block. With the lock: nobody
 * may take a block of s meanwhile. */
static void thin(struct hk_heap *h, struct hk_slab *s)
{
	const struct hk_slab_list *partial = &h->class[s->bin].partial;
	const void *damage;

	if (partial->head == s && partial->tail == s)
		return; /* the class is in use: it will want it again */
	damage = hk_hard_slab_find_damage(s);
	if (HK_UNLIKELY(damage != NULL))
		hk_heap_die_damaged((struct hk_offence){ "free", NULL }, damage,
				    hk_hard_slab_usable(s));
	hk_hard_slab_purge(s);
}

void hk_hard_free(struct hk_heap *h, struct hk_slab *s, void *p, struct hk_offence where)
{
	size_t usable = hk_hard_slab_usable(s);

	hk_lock_take(&h->lock);
	if (HK_UNLIKELY(!is_out(h, s, p)))
		hk_heap_die_already_free(where, p, usable);
	hk_harden_verify(p, usable, where);
	hk_hard_slab_retire(s, p);
	add_block(h, p, hk_slab_block_bytes(s));
	if (hk_hard_slab_is_spent(s))
		thin(h, s);
	hk_lock_drop(&h->lock);
	hk_heap_pass(h, 0);
}

/* The oldest span, or NULL. With the lock. */
static struct hk_span *pop_span(struct hk_quarantine *q)
{
	struct hk_span *s;

	if (q->spans == 0)
		return NULL;
	s = q->span[q->first_span];
	q->first_span = (q->first_span + 1) % HK_QUARANTINE_SPANS;
	q->spans--;
	q->units -= hk_span_units(s);
	return s;
}

void hk_quarantine_add_span(struct hk_heap *h, struct hk_span *s)
{
	struct hk_quarantine *q = h->quarantine;
	struct hk_span *out[HK_QUARANTINE_SPANS];
	uint32_t count = 0;

	hk_lock_take(&h->lock);
	while (q->spans == HK_QUARANTINE_SPANS ||
	       (q->spans != 0 && q->units + hk_span_units(s) > HK_QUARANTINE_UNITS))
		out[count++] = pop_span(q);
	q->span[(q->first_span + q->spans++) % HK_QUARANTINE_SPANS] = s;
	q->units += hk_span_units(s);
	hk_lock_drop(&h->lock);
	/* outside the lock: the kernel is called */
	for (uint32_t i = 0; i < count; i++)
		hk_span_exhume(out[i]);
}

void hk_quarantine_empty(struct hk_heap *h)
{
	struct hk_span *s;

	if (h->quarantine == NULL || !hk_lock_try(&h->lock))
		return;
	while (h->quarantine->count != 0)
		settle_oldest(h);
	while ((s = pop_span(h->quarantine)) != NULL)
		hk_span_exhume(s);
	hk_lock_drop(&h->lock);
}

void hk_quarantine_forget(struct hk_heap *h)
{
	struct hk_quarantine *q = h->quarantine;
	struct hk_span *s;

	count_waiting(h, -(int64_t)q->bytes);
	q->count = 0;
	while ((s = pop_span(q)) != NULL)
		hk_span_exhume(s);
}

void hk_quarantine_check(const struct hk_heap *h)
{
	const struct hk_quarantine *q = h->quarantine;
	size_t bytes = 0;
	uint32_t units = 0;

	for (uint32_t i = 0; i < q->count; i++) {
		const void *p = q->block[(q->first + i) % HK_QUARANTINE_BLOCKS];
		const struct hk_slab *s = hk_slab_of(hk_arena_unit(p));

		hk_walk(Q1, atomic_load(&((struct hk_slab *)(uintptr_t)s)->owner) == h->id);
		hk_walk(Q1, hk_slab_inside(s, p) == 0 && !hk_hard_slab_is_out(s, p));
		bytes += hk_slab_block_bytes(s);
	}
	hk_walk(Q2, bytes == q->bytes);
	hk_walk(Q2, bytes <= HK_QUARANTINE_BYTES || q->count == 1);
	for (uint32_t i = 0; i < q->spans; i++) {
		const struct hk_span *s = q->span[(q->first_span + i) % HK_QUARANTINE_SPANS];

		hk_walk(Q3, hk_word_id(hk_page_word(s->unit)) == HK_KIND_FREE);
		units += hk_span_units(s);
	}
	hk_walk(Q3, units == q->units);
}

/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "slab/slab.h"

#include "slab/hard_slab.h"
#include "slab/holes.h"

/* What is carved at once of memory that is not in yet: about a page. */
#define CARVE_BYTES ((size_t)4096)

static uint32_t word_of(const struct hk_slab *s, uint32_t owner)
{
	bool hardened = (s->flags & HK_SLAB_HARDENED) != 0;

	return hk_word_slab(owner, s->bin) | (hardened ? HK_WORD_HARDENED : 0);
}

struct hk_slab *hk_slab_make(unsigned bin, uint32_t owner, hk_unit unit, bool zero)
{
	struct hk_slab *s = (struct hk_slab *)(void *)hk_unit_meta(unit)->upper;
	const struct hk_class *class = &hk_classes[bin];

	for (uint32_t i = 0; i < class->units; i++) {
		struct hk_slab *part = (struct hk_slab *)(void *)hk_unit_meta(unit + i)->upper;

		part->back = (uint8_t)i;
		part->holes = 0;
	}
	s->next = s->prev = NULL;
	s->free = s->mail = HK_END;
	s->free_tail = NULL;
	s->unit = unit;
	s->free_blocks = s->mail_blocks = s->hole_blocks = s->carved = s->used = 0;
	s->capacity = class->capacity;
	s->trimmed_at = UINT16_MAX;
	s->bin = (uint8_t)bin;
	s->units = class->units;
	s->flags = zero ? HK_SLAB_ZERO : 0;
	atomic_store_explicit(&s->remote, 0, memory_order_relaxed);
	s->mail_next = NULL;
	hk_slab_set_owner(s, owner);
	return s;
}

void hk_slab_set_owner(struct hk_slab *s, uint32_t owner)
{
	atomic_store_explicit(&s->owner, owner, memory_order_release);
	for (uint32_t i = 0; i < s->units; i++)
		hk_page_set(s->unit + i, word_of(s, owner));
}

static bool is_purged(const struct hk_slab *s)
{
	return (s->flags & HK_SLAB_HARDENED) != 0 && hk_hard_slab_is_purged(s);
}

size_t hk_slab_pages(const struct hk_slab *s, size_t *holes)
{
	size_t carved = s->carved * hk_slab_block_bytes(s);

	*holes = 0;
	for (uint32_t i = 0; i < s->units && (s->flags & HK_SLAB_HOLES) != 0; i++)
		*holes += hk_holes_bytes(s, i);
	return hk_arena_pages(s->unit, s->units, is_purged(s) ? 0 : carved) - *holes;
}

uint32_t hk_slab_unmake(struct hk_slab *s)
{
	size_t touched = s->carved * hk_slab_block_bytes(s);

	hk_assert(s->used == 0);
	if (!is_purged(s))
		hk_arena_note_touched(s->unit, touched);
	if ((s->flags & HK_SLAB_HOLES) != 0)
		hk_holes_forget(s);
	for (uint32_t i = 0; i < s->units; i++)
		hk_page_set(s->unit + i, hk_word_kind(HK_KIND_FREE, HK_WORD_WAS_SLAB));
	return (uint32_t)hk_div_up(touched, HK_UNIT_BYTES);
}

void hk_slab_die(const struct hk_slab *s, const void *caller)
{
	hk_die((struct hk_offence){ NULL, caller }, "corrupted free list in slab %p (%zu bytes)",
	       (void *)hk_slab_start(s), hk_slab_block_bytes(s));
}

/* Cuts the first `want` blocks, fewer than there are, off the free list. */
static void take_part(struct hk_slab *s, uint32_t want, struct hk_chain *out, const void *caller)
{
	struct hk_block *last = s->free;

	*out = (struct hk_chain){ s->free, NULL, want };
	for (uint32_t i = 1; i < want; i++) {
		if (HK_UNLIKELY(last->tag != HK_TAG))
			hk_slab_die(s, caller);
		last = last->link;
	}
	if (HK_UNLIKELY(last->tag != HK_TAG || last->link == HK_END))
		hk_slab_die(s, caller);
	s->free = last->link;
	s->free_blocks = (uint16_t)(s->free_blocks - want);
	last->link = HK_END;
	out->tail = last;
}

static void take_free(struct hk_slab *s, uint32_t want, struct hk_chain *out, const void *caller)
{
	if (s->free_blocks > want) {
		take_part(s, want, out, caller);
		return;
	}
	*out = (struct hk_chain){ s->free, s->free_tail, s->free_blocks };
	s->free = HK_END;
	s->free_tail = NULL;
	s->free_blocks = 0;
}

/* How many blocks to carve at once: linking touches them, and pages that nobody asked for yet are not to
 * be faulted in. */
static size_t ahead(const struct hk_slab *s, size_t want)
{
	size_t left = (size_t)(s->capacity - s->carved);

	if ((s->flags & HK_SLAB_ZERO) != 0)
		left = hk_min(left, hk_max(CARVE_BYTES / hk_slab_block_bytes(s), 1));
	return hk_min(want, left);
}

/* Links up to `want` blocks that were never handed out, in address order. */
static void carve(struct hk_slab *s, uint32_t want, struct hk_chain *out)
{
	size_t size = hk_slab_block_bytes(s);
	uint32_t count = (uint32_t)ahead(s, want);
	char *p = hk_slab_start(s) + s->carved * size;
	struct hk_block *block = (struct hk_block *)(void *)p;

	*out = (struct hk_chain){ block, NULL, count };
	for (uint32_t i = 0; i < count; i++) {
		block = (struct hk_block *)(void *)p;
		p += size;
		block->link = (struct hk_block *)(void *)p;
		block->tag = HK_TAG;
	}
	block->link = HK_END;
	out->tail = block;
	s->carved = (uint16_t)(s->carved + count);
}

/* Mail becomes the free list; where it ends is not known. */
static void open_mail(struct hk_slab *s)
{
	s->free = s->mail;
	s->free_tail = NULL;
	s->free_blocks = s->mail_blocks;
	s->mail = HK_END;
	s->mail_blocks = 0;
}

void hk_slab_take(struct hk_slab *s, uint32_t want, struct hk_chain *c, const void *caller)
{
	struct hk_chain part;

	while (want != 0 && hk_slab_has_blocks(s) && (c->count == 0 || c->tail != NULL)) {
		if (s->free_blocks == 0 && s->mail_blocks != 0)
			open_mail(s);
		if (s->free_blocks == 0 && s->hole_blocks != 0)
			hk_holes_open(s, caller);
		if (s->free_blocks != 0)
			take_free(s, want, &part, caller);
		else if (c->count == 0 || (s->flags & HK_SLAB_ZERO) == 0)
			carve(s, want, &part);
		else
			break; /* there is something to hand out without new pages */
		if ((s->flags & HK_SLAB_HOLES) != 0 && hk_slab_block_bytes(s) > HK_GRAIN_BYTES)
			hk_holes_fill(s, &part);
		s->used = (uint16_t)(s->used + part.count);
		want -= part.count;
		hk_chain_append(c, &part);
	}
}

struct hk_block *hk_slab_take_zero(struct hk_slab *s)
{
	struct hk_block *block;

	if ((s->flags & HK_SLAB_ZERO) == 0 || s->carved == s->capacity || s->free_blocks != 0 ||
	    s->mail_blocks != 0)
		return NULL;
	block = (struct hk_block *)(void *)(hk_slab_start(s) + s->carved * hk_slab_block_bytes(s));
	s->carved++;
	s->used++;
	return block;
}

void hk_slab_die_put(const struct hk_slab *s, const struct hk_block *b, const void *caller)
{
	hk_die((struct hk_offence){ "free", caller }, "%p (%zu bytes) is already free",
	       (const void *)b, hk_slab_block_bytes(s));
}

static void check_list(const struct hk_slab *s, const struct hk_block *list, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		hk_walk(S2, list != HK_END && list->tag == HK_TAG);
		hk_walk(S2, hk_slab_inside(s, list) == 0);
		list = list->link;
	}
	hk_walk(S2, list == HK_END);
}

void hk_slab_check(const struct hk_slab *s)
{
	uint32_t owner = atomic_load_explicit(&s->owner, memory_order_relaxed);

	hk_walk(S1, s->used + s->free_blocks + s->mail_blocks + s->hole_blocks == s->carved);
	hk_walk(S1, s->carved <= s->capacity);
	if ((s->flags & HK_SLAB_HARDENED) != 0) {
		hk_hard_slab_check(s);
	} else {
		check_list(s, s->free, s->free_blocks);
		check_list(s, s->mail, s->mail_blocks);
		hk_holes_check(s);
	}
	for (uint32_t i = 0; i < s->units; i++)
		hk_walk(S3, hk_page_word(s->unit + i) == word_of(s, owner));
}

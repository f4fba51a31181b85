/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "slab/holes.h"

#include <string.h>

#include "os/os.h"
#include "superslab/release.h"

/* Bit a block: it is free. */
struct free_set {
	uint64_t bits[HK_SLAB_MAX_BLOCKS / 64];
};

static bool is_in(const struct free_set *set, uint32_t index)
{
	return (set->bits[index / 64] >> index % 64 & 1) != 0;
}

/* ---- Holes: bits in the records of the slab's units ---- */

static uint16_t *holes_of(const struct hk_slab *s, uint32_t unit)
{
	return &((struct hk_slab *)(void *)hk_unit_meta(s->unit + unit)->upper)->holes;
}

static bool is_hole(const struct hk_slab *s, size_t grain)
{
	return (*holes_of(s, (uint32_t)(grain / HK_UNIT_GRAINS)) >> grain % HK_UNIT_GRAINS & 1) !=
	       0;
}

static void set_hole(struct hk_slab *s, size_t grain, bool hole)
{
	uint16_t *holes = holes_of(s, (uint32_t)(grain / HK_UNIT_GRAINS));
	unsigned bit = 1u << grain % HK_UNIT_GRAINS;

	if (is_hole(s, grain) == hole)
		return;
	*holes ^= (uint16_t)bit;
	hk_holes_add(hole ? (int64_t)HK_GRAIN_BYTES : -(int64_t)HK_GRAIN_BYTES);
}

void hk_holes_forget(const struct hk_slab *s)
{
	for (uint32_t i = 0; i < s->units; i++) {
		hk_arena_note_purged(s->unit + i, hk_holes_bytes(s, i));
		hk_holes_add(-(int64_t)hk_holes_bytes(s, i));
	}
}

size_t hk_holes_bytes(const struct hk_slab *s, uint32_t unit)
{
	return (size_t)__builtin_popcount(*holes_of(s, unit)) * HK_GRAIN_BYTES;
}

static size_t offset_of(const struct hk_slab *s, const void *p)
{
	return (size_t)((const char *)p - hk_slab_start(s));
}

bool hk_holes_have(const struct hk_slab *s, const void *p)
{
	return (s->flags & HK_SLAB_HOLES) != 0 && is_hole(s, offset_of(s, p) / HK_GRAIN_BYTES);
}

/* The first block that begins in [from, to), which may be behind the last one. */
static uint32_t first_in(const struct hk_slab *s, size_t from)
{
	return (uint32_t)hk_div_up(from, hk_slab_block_bytes(s));
}

static struct hk_block *block_at(const struct hk_slab *s, uint32_t index)
{
	return (struct hk_block *)(void *)(hk_slab_start(s) + index * hk_slab_block_bytes(s));
}

/* ---- Making them ---- */

static void add_list(const struct hk_slab *s, const struct hk_block *b, uint32_t count,
		     struct free_set *set)
{
	for (uint32_t i = 0; i < count; i++, b = b->link) {
		uint32_t index;

		if (HK_UNLIKELY(b == HK_END || b->tag != HK_TAG || hk_slab_inside(s, b) != 0))
			hk_slab_die(s, NULL);
		index = hk_class_index(s->bin, (uint32_t)offset_of(s, b));
		if (HK_UNLIKELY(is_in(set, index)))
			hk_slab_die(s, NULL); /* twice */
		set->bits[index / 64] |= 1ull << index % 64;
	}
}

static void add_holes(const struct hk_slab *s, struct free_set *set)
{
	for (uint32_t i = 0; i < s->carved && s->hole_blocks != 0; i++) {
		if (hk_holes_have(s, block_at(s, i)))
			set->bits[i / 64] |= 1ull << i % 64;
	}
}

/* All blocks that reach into [from, to) are free, and it has pages. */
static bool can_go(const struct hk_slab *s, size_t from, size_t to, const struct free_set *set)
{
	size_t size = hk_slab_block_bytes(s);
	uint32_t last = (uint32_t)hk_min((to - 1) / size, s->carved - 1u);

	for (uint32_t i = (uint32_t)(from / size); i <= last; i++) {
		if (!is_in(set, i))
			return false;
	}
	return !is_hole(s, from / HK_GRAIN_BYTES);
}

static size_t purge(struct hk_slab *s, size_t from, size_t to)
{
	if (from == to || hk_release_purge(hk_slab_start(s) + from, to - from) != HK_PURGED_ZERO)
		return 0;
	for (size_t at = from; at < to; at += HK_GRAIN_BYTES)
		set_hole(s, at / HK_GRAIN_BYTES, true);
	return to - from;
}

/* Pages that are neighbours go in one call. */
static size_t purge_all(struct hk_slab *s, const struct free_set *set)
{
	size_t page = hk_os_page(), end = s->carved * hk_slab_block_bytes(s), sum = 0;
	size_t from = 0, to = 0;

	/* HO2: what is carved later must not begin in a hole */
	end = s->carved == s->capacity ? hk_align_up(end, page) : hk_align_down(end, page);
	for (size_t at = 0; at < end; at += page) {
		if (!can_go(s, at, at + page, set))
			continue;
		if (to != at) {
			sum += purge(s, from, to);
			from = at;
		}
		to = at + page;
	}
	return sum + purge(s, from, to);
}

/* The free list anew, in order of addresses: of what is free, and not in a hole. */
static void relink(struct hk_slab *s, const struct free_set *set)
{
	struct hk_block *before = NULL;

	s->free = s->mail = HK_END;
	s->free_blocks = s->mail_blocks = s->hole_blocks = 0;
	for (uint32_t i = 0; i < s->carved; i++) {
		struct hk_block *b = block_at(s, i);

		if (!is_in(set, i))
			continue;
		if (is_hole(s, offset_of(s, b) / HK_GRAIN_BYTES)) {
			s->hole_blocks++;
			continue;
		}
		*b = (struct hk_block){ HK_END, HK_TAG };
		if (before != NULL)
			before->link = b;
		else
			s->free = b;
		before = b;
		s->free_blocks++;
	}
	s->free_tail = before;
}

size_t hk_slab_trim(struct hk_slab *s)
{
	struct free_set set = { 0 };
	size_t unused = (size_t)s->free_blocks + s->mail_blocks, sum;

	s->trimmed_at = s->used;
	if ((s->flags & HK_SLAB_HARDENED) != 0 || unused * hk_slab_block_bytes(s) < hk_os_page())
		return 0;
	add_list(s, s->free, s->free_blocks, &set);
	add_list(s, s->mail, s->mail_blocks, &set);
	add_holes(s, &set);
	sum = purge_all(s, &set);
	if (sum != 0) {
		s->flags |= HK_SLAB_HOLES;
		relink(s, &set);
	}
	return sum;
}

/* ---- And unmaking them ---- */

static void verify(const struct hk_slab *s, const struct hk_block *b, const void *caller)
{
	if (HK_UNLIKELY(b->link != NULL || b->tag != 0))
		hk_die((struct hk_offence){ NULL, caller },
		       "block %p (%zu bytes) was freed twice or written after free",
		       (const void *)b, hk_slab_block_bytes(s));
}

/* The blocks that begin in this grain; how many. */
static uint32_t open_grain(struct hk_slab *s, size_t grain, const void *caller)
{
	size_t end = (grain + 1) * HK_GRAIN_BYTES, size = hk_slab_block_bytes(s);
	uint32_t count = 0;

	for (uint32_t i = first_in(s, grain * HK_GRAIN_BYTES); i < s->carved && i * size < end;
	     i++) {
		struct hk_block *b = block_at(s, i);

		verify(s, b, caller);
		*b = (struct hk_block){ s->free, HK_TAG };
		if (s->free_blocks++ == 0)
			s->free_tail = b;
		s->free = b;
		count++;
	}
	if (count != 0)
		set_hole(s, grain, false);
	return count;
}

void hk_holes_open(struct hk_slab *s, const void *caller)
{
	size_t grains = s->units * HK_UNIT_GRAINS, page = hk_os_page() / HK_GRAIN_BYTES;
	uint32_t count = 0;

	for (size_t grain = 0; grain < grains && count == 0; grain += page) {
		for (size_t i = grain; i < grain + page; i++)
			count += is_hole(s, i) ? open_grain(s, i, caller) : 0;
	}
	hk_verify(count != 0 && count <= s->hole_blocks);
	s->trimmed_at = UINT16_MAX; /* it fills up again, and may be trimmed again */
	s->hole_blocks = (uint16_t)(s->hole_blocks - count);
}

void hk_holes_fill(struct hk_slab *s, const struct hk_chain *c)
{
	size_t size = hk_slab_block_bytes(s);
	const struct hk_block *b = c->head;

	for (uint32_t n = 0; n < c->count; n++, b = b->link) {
		size_t start = offset_of(s, b), last = (start + size - 1) / HK_GRAIN_BYTES;

		if (HK_UNLIKELY(b->tag != HK_TAG))
			hk_slab_die(s, NULL);
		for (size_t g = start / HK_GRAIN_BYTES + 1; g <= last; g++) {
			/* one that the next block begins in stays, for that block */
			if (first_in(s, g * HK_GRAIN_BYTES) * size >= (g + 1) * HK_GRAIN_BYTES ||
			    first_in(s, g * HK_GRAIN_BYTES) >= s->carved)
				set_hole(s, g, false);
		}
	}
}

void hk_holes_check(const struct hk_slab *s)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < s->carved; i++) {
		const struct hk_block *b = block_at(s, i);

		if (!hk_holes_have(s, b))
			continue;
		hk_walk(HO1, b->link == NULL && b->tag == 0);
		count++;
	}
	hk_walk(HO1, count == s->hole_blocks);
	for (size_t g = 0; g < (size_t)s->units * HK_UNIT_GRAINS; g++)
		hk_walk(HO2,
			!is_hole(s, g) || s->carved == s->capacity ||
				(g + 1) * HK_GRAIN_BYTES <= s->carved * hk_slab_block_bytes(s));
}

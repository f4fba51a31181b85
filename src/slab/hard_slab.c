/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "slab/hard_slab.h"

#include "os/os.h"
#include "superslab/meta.h"
#include "superslab/release.h"

/* Blocks are carved this many bytes at a time, and at least so many: enough to choose from, without
 * touching all of the slab at once. */
#define CARVE_BYTES  (16 * HK_KiB)
#define CARVE_BLOCKS ((size_t)8)
/* The guard page may take this part of a slab. */
#define GUARD_SHARE 16u
/* Up to so many blocks have a bit in `fresh`; those of larger slabs are zero as soon as carved. */
#define FRESH_BLOCKS 64u

static_assert(HK_SLAB_MAX_BLOCKS == FRESH_BLOCKS << 6, "a record has up to 64 words a map");

static unsigned order_of(uint32_t words) { return words == 1 ? 0 : hk_log2(words - 1) + 1; }

struct hk_hard_slab *hk_hard_slab_record(struct hk_hard_spares *spares, unsigned bin)
{
	unsigned order = order_of((uint32_t)hk_div_up(hk_classes[bin].capacity, 64));
	struct hk_hard_slab *r = spares->list[order];

	if (r != NULL) {
		spares->list[order] = r->next;
		return r;
	}
	r = hk_meta_alloc(sizeof(*r) + (2 * sizeof(r->bits[0]) << order), alignof(max_align_t));
	if (r != NULL)
		r->words = 1u << order;
	return r;
}

void hk_hard_slab_spare(struct hk_hard_spares *spares, struct hk_hard_slab *record)
{
	unsigned order = order_of(record->words);

	record->next = spares->list[order];
	spares->list[order] = record;
}

static uint64_t word(const _Atomic uint64_t *w)
{
	return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)w, memory_order_relaxed);
}

static void flip(_Atomic uint64_t *map, uint32_t index)
{
	_Atomic uint64_t *w = &map[index / 64];

	/* one writer: the lock is held */
	atomic_store_explicit(w, word(w) ^ 1ull << index % 64, memory_order_relaxed);
}

static bool is_in(const _Atomic uint64_t *map, uint32_t index)
{
	return (word(&map[index / 64]) >> index % 64 & 1) != 0;
}

static _Atomic uint64_t *ready_map(struct hk_hard_slab *r) { return r->bits + r->words; }

static char *block_at(const struct hk_slab *s, uint32_t index)
{
	return hk_slab_start(s) + index * hk_slab_block_bytes(s);
}

static uint32_t index_of(const struct hk_slab *s, const void *p)
{
	return hk_class_index(s->bin, (uint32_t)((const char *)p - hk_slab_start(s)));
}

static bool has_fresh(const struct hk_slab *s) { return s->capacity <= FRESH_BLOCKS; }

static void guard_end(struct hk_slab *s)
{
	size_t bytes = s->units * HK_UNIT_BYTES, page = hk_os_page();

	s->hard->guarded = false;
	if (page > bytes / GUARD_SHARE || !hk_os_has_guards())
		return;
	s->capacity = (uint16_t)((bytes - page) / hk_slab_block_bytes(s));
	s->hard->guarded = hk_os_guard(hk_slab_start(s) + bytes - page, page);
}

void hk_hard_slab_make(struct hk_slab *s, struct hk_hard_slab *record)
{
	s->hard = record;
	s->flags |= HK_SLAB_HARDENED;
	record->next = NULL;
	record->fresh = 0;
	record->out = record->freed = 0;
	for (uint32_t i = 0; i < 2 * record->words; i++)
		atomic_store_explicit(&record->bits[i], 0, memory_order_relaxed);
	guard_end(s);
	hk_slab_set_owner(s, atomic_load_explicit(&s->owner, memory_order_relaxed));
}

struct hk_hard_slab *hk_hard_slab_unmake(struct hk_slab *s)
{
	struct hk_hard_slab *record = s->hard;
	size_t page = hk_os_page();

	if (record->guarded)
		hk_os_unguard(hk_slab_start(s) + s->units * HK_UNIT_BYTES - page, page);
	return record;
}

bool hk_hard_slab_is_out(const struct hk_slab *s, const void *p)
{
	const struct hk_hard_slab *r = s->hard;
	uint32_t index = index_of(s, p);

	/* a pointer into a slab that is just going, or coming, may meet the record of another size */
	return index < r->words * 64 && is_in(r->bits, index);
}

static void carve(struct hk_slab *s)
{
	struct hk_hard_slab *r = s->hard;
	size_t size = hk_slab_block_bytes(s);
	uint32_t count = (uint32_t)hk_min(hk_max(CARVE_BYTES / size, CARVE_BLOCKS),
					  (size_t)(s->capacity - s->carved));

	if (!has_fresh(s) && (s->flags & HK_SLAB_ZERO) == 0)
		hk_harden_clear(block_at(s, s->carved), count * size);
	for (uint32_t i = s->carved; i < s->carved + count; i++) {
		flip(ready_map(r), i);
		if (has_fresh(s))
			r->fresh |= 1ull << i;
	}
	s->carved = (uint16_t)(s->carved + count);
	s->free_blocks = (uint16_t)(s->free_blocks + count);
}

/* A ready block: the first one from a random place on. */
static uint32_t pick(const struct hk_slab *s, uint64_t random)
{
	const _Atomic uint64_t *ready = ready_map(s->hard);
	uint32_t start = (uint32_t)((random >> 32) * s->carved >> 32);
	uint32_t words = (s->carved + 63u) / 64, w = start / 64;
	uint64_t bits = word(&ready[w]) & ~0ull << start % 64;

	while (bits == 0) {
		w = w + 1 < words ? w + 1 : 0;
		bits = word(&ready[w]);
	}
	return w * 64 + (uint32_t)__builtin_ctzll(bits);
}

/* Whether block `index` is zero, as it must be unless it is fresh; it is so afterwards. */
static bool open_block(struct hk_slab *s, uint32_t index)
{
	uint64_t bit = has_fresh(s) ? 1ull << index : 0;
	size_t size = hk_slab_block_bytes(s);

	if ((s->hard->fresh & bit) == 0)
		return hk_harden_is_zero(block_at(s, index), size);
	s->hard->fresh &= ~bit;
	if ((s->flags & HK_SLAB_ZERO) == 0)
		hk_harden_clear(block_at(s, index), size);
	return true;
}

void *hk_hard_slab_take(struct hk_slab *s, uint64_t *random, bool *intact)
{
	uint32_t index;
	char *p;

	if (s->free_blocks == 0)
		carve(s);
	index = pick(s, hk_harden_random(random));
	p = block_at(s, index);
	*intact = open_block(s, index);
	flip(ready_map(s->hard), index);
	flip(s->hard->bits, index);
	s->free_blocks--;
	s->used++;
	s->hard->out++;
	hk_harden_mark(p, hk_hard_slab_usable(s));
	return p;
}

void hk_hard_slab_retire(struct hk_slab *s, void *p)
{
	flip(s->hard->bits, index_of(s, p));
	s->hard->out--;
	s->hard->freed++;
	hk_harden_clear(p, hk_slab_block_bytes(s));
}

void hk_hard_slab_settle(struct hk_slab *s, const void *p)
{
	flip(ready_map(s->hard), index_of(s, p));
	s->free_blocks++;
	s->used--;
	hk_invariant(S1, s->used + s->free_blocks == s->carved);
}

void hk_hard_slab_purge(struct hk_slab *s)
{
	size_t bytes = hk_align_up(s->carved * hk_slab_block_bytes(s), hk_os_page());

	s->hard->freed = 0;
	if (hk_release_purge(hk_slab_start(s), bytes) == HK_PURGED_ZERO)
		for (uint32_t i = 0; i < s->units; i++)
			hk_arena_note_purged(s->unit + i, HK_UNIT_BYTES);
}

void *hk_hard_slab_find_damage(const struct hk_slab *s)
{
	for (uint32_t i = 0; i < s->carved; i++) {
		bool fresh = has_fresh(s) && (s->hard->fresh >> i & 1) != 0;

		if (!fresh && !is_in(s->hard->bits, i) &&
		    !hk_harden_is_zero(block_at(s, i), hk_slab_block_bytes(s)))
			return block_at(s, i);
	}
	return NULL;
}

void hk_hard_slab_verify(const struct hk_slab *s, struct hk_offence where)
{
	for (uint32_t i = 0; i < s->carved; i++) {
		if (is_in(s->hard->bits, i))
			hk_harden_verify(block_at(s, i), hk_hard_slab_usable(s), where);
	}
}

void hk_hard_slab_check(const struct hk_slab *s)
{
	uint32_t out = 0, ready = 0;

	for (uint32_t i = 0; i < s->hard->words * 64; i++) {
		bool is_out = is_in(s->hard->bits, i), is_ready = is_in(ready_map(s->hard), i);

		hk_walk(HD2, !(is_out && is_ready));
		hk_walk(HD2, i < s->carved || !(is_out || is_ready));
		out += is_out;
		ready += is_ready;
	}
	hk_walk(HD2, ready == s->free_blocks && out <= s->used && out == s->hard->out);
	hk_walk(HD2, s->free == HK_END && s->mail == HK_END && s->mail_blocks == 0);
}

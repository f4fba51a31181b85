/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "observe/stats.h"

#include "heap/heap.h"
#include "heap/quarantine.h"
#include "os/os.h"
#include "slab/huge.h"
#include "superslab/meta.h"
#include "superslab/pool.h"
#include "superslab/release.h"
#include "superslab/squeeze.h"

/* Words that a running thread changes without a lock. Any value that it has had of late is right here,
 * and an aligned word is never seen half written; so ThreadSanitizer is not asked. Not inlined: the
 * attribute would be lost. */
static HK_NOINLINE __attribute__((no_sanitize_thread)) uint32_t peek(const uint32_t *word)
{
	return *(const volatile uint32_t *)word;
}

static HK_NOINLINE __attribute__((no_sanitize_thread)) const struct hk_slab *
peek_slab(const struct hk_way *way)
{
	return *(struct hk_slab *const volatile *)&way->slab;
}

static void add_bins(const struct hk_heap *h, struct hk_stats *s)
{
	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		const struct hk_bin *b = &h->face.bin[bin];

		/* H2; the limit changes under the lock only */
		s->class[bin].bins += b->limit - peek(&b->room);
	}
}

static void add_ways(const struct hk_heap *h, struct hk_stats *s)
{
	for (uint32_t i = 0; i < HK_WAYS; i++) {
		const struct hk_way *way = &h->way[i];
		const struct hk_slab *slab = peek_slab(way);
		uint32_t count = peek(&way->chain.count);

		/* sent meanwhile, its record may be another thing's by now */
		if (slab != NULL && slab->bin < HK_BINS && count <= HK_SLAB_MAX_BLOCKS)
			s->class[slab->bin].ways += count;
	}
}

static uint32_t mail_count(const struct hk_slab *slab)
{
	_Atomic uint64_t *remote = (_Atomic uint64_t *)(uintptr_t)&slab->remote;

	return hk_remote_count(atomic_load_explicit(remote, memory_order_relaxed));
}

static void add_slab(const struct hk_slab *slab, struct hk_stats *s)
{
	struct hak_class_stats *c = &s->class[slab->bin];
	size_t holes, size = hk_slab_block_bytes(slab), pages = hk_slab_pages(slab, &holes);
	bool hardened = (slab->flags & HK_SLAB_HARDENED) != 0;
	size_t waiting = hardened ? slab->used - hk_min(slab->used, slab->hard->out) : 0;
	size_t unused = slab->carved - slab->used;

	c->slabs++;
	c->blocks += slab->capacity;
	c->carved += slab->carved;
	c->mail += mail_count(slab);
	c->quarantine += waiting;
	c->free_blocks += unused;
	c->resident += pages;
	s->sum.uncarved += (slab->capacity - slab->carved) * size + holes;
	if (hardened) { /* what is behind a block is not the program's */
		s->sum.live -= slab->hard->out * HK_CANARY_BYTES;
		s->sum.tails += slab->hard->out * HK_CANARY_BYTES;
	}
	if (pages + holes < slab->carved * size) /* given back, with free blocks in them */
		return;
	s->sum.quarantine += waiting * size;
	/* the ends of a hole may be those of blocks that are in the list, or have no page behind them */
	holes = hk_min(holes, unused * size);
	*(slab->used == 0 ? &s->sum.idle : &s->sum.free_blocks) += unused * size - holes;
	s->sum.tails += pages + holes - slab->carved * size;
}

static void add_slabs(const struct hk_slab *slab, struct hk_stats *s)
{
	for (; slab != NULL; slab = slab->next)
		add_slab(slab, s);
}

static void add_heap(struct hk_heap *h, struct hk_stats *s)
{
	hk_heap_say_all(h);
	s->sum.blocks_out += atomic_load_explicit(&h->blocks_out, memory_order_relaxed);
	s->sum.heaps++;
	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		add_slabs(h->class[bin].partial.head, s);
		add_slabs(h->class[bin].full.head, s);
	}
	add_bins(h, s);
	add_ways(h, s);
	s->sum.bigcache += peek(&h->bigcache.units) * HK_UNIT_BYTES;
	s->warm_units += h->warm_units;
	for (uint32_t i = 0; i < h->warm_units; i++)
		s->sum.warm += hk_arena_pages(h->warm[i].unit, 1, 0);
	/* buried spans have no pages; what is committed is made up later */
	if (h->hardened)
		s->sum.committed += (size_t)h->quarantine->units << HK_UNIT_SHIFT;
}

static void add_heaps(struct hk_stats *s)
{
	for (uint32_t id = HK_FIRST_ID; id < hk_heap_ids(); id++) {
		struct hk_heap *h = hk_heap_by_id(id);

		hk_lock_take(&h->lock);
		add_heap(h, s);
		hk_lock_drop(&h->lock);
	}
}

/* What is out and nowhere else is live. What was read of running threads may not fit together. */
static void add_up_classes(struct hk_stats *s)
{
	size_t before = 0;

	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		struct hak_class_stats *c = &s->class[bin];
		size_t elsewhere = c->bins + c->ways + c->mail + c->quarantine + c->free_blocks;

		c->size = hk_class_size(bin);
		c->live = c->carved - hk_min(c->carved, elsewhere);
		s->sum.live += c->live * c->size;
		s->sum.bins += c->bins * c->size;
		s->sum.ways += c->ways * c->size;
		s->sum.mail += c->mail * c->size;
		/* a block of this class was asked for with a byte more than the class before has */
		s->sum.slack_most += c->live * (c->size - before - (before != 0));
		before = c->size;
	}
}

/* Spans that were cached serve requests that waste an eighth, and units are rounded up to. */
static void add_spans(hk_unit unit, hk_unit end, struct hk_stats *s)
{
	while (unit < end) {
		uint32_t word, units = 1;

		if (unit % HK_SS_UNITS == 0 && hk_ss_of(unit) == NULL) {
			unit += HK_SS_UNITS;
			continue;
		}
		word = hk_page_word(unit);
		if (hk_word_id(word) == HK_KIND_SPAN) {
			units = hk_span_extent(unit);
			s->sum.span_blocks++;
			s->sum.spans += units * HK_UNIT_BYTES;
			s->sum.spans -= hk_word_is_hardened(word) ? hk_harden_tail() : 0;
			s->sum.slack_most += (units / 9 + 1) * HK_UNIT_BYTES - 1;
		}
		unit += units;
	}
}

/* The map's pages, the tables', the heaps that are part of the library; and what was allocated. */
static size_t metadata(void)
{
	size_t units = hk_arena_mapped() >> HK_UNIT_SHIFT, page = hk_os_page();

	return hk_meta_bytes() + hk_align_up(units * sizeof(hk_page_map[0]), page) +
	       hk_align_up(units / HK_SS_UNITS * sizeof(hk_ss_table[0]), page) +
	       hk_align_up(hk_heap_ids() * sizeof(hk_heap_table[0]), page) +
	       2 * sizeof(struct hk_heap);
}

static uint64_t system_calls(void)
{
	struct hk_os_counts c = hk_os_counts();

	return c.map + c.unmap + c.remap + c.purge + c.populate + c.other;
}

/* Large blocks, and what is free. */
static void add_the_rest(struct hak_stats *sum)
{
	struct hk_huge_count huge = hk_huge_count();
	struct hk_pool_pages pool = hk_pool_pages();
	size_t free_units, dirty_units;

	hk_pool_count(&free_units, &dirty_units);
	sum->live += sum->spans + huge.live_bytes;
	sum->huge = huge.live_bytes;
	sum->huge_blocks = huge.live_blocks;
	/* of a mapping that was kept, a request takes four fifths or more */
	sum->slack_most += huge.live_bytes / 5 + huge.live_blocks * hk_os_page();
	sum->huge_cached = huge.dirty_bytes;
	sum->dirty = pool.dirty;
	sum->lazy = pool.lazy;
	sum->prefaulted = pool.prefaulted;
	sum->metadata = metadata();
	sum->mapped = hk_arena_mapped() + huge.live_bytes + huge.cached_bytes;
	sum->committed = hk_arena_mapped() - ((free_units - dirty_units) << HK_UNIT_SHIFT) -
			 sum->committed + huge.live_bytes + huge.dirty_bytes;
	sum->resident = sum->live + sum->bins + sum->ways + sum->mail + sum->quarantine +
			sum->free_blocks + sum->idle + sum->tails + sum->warm + sum->bigcache +
			sum->huge_cached + sum->dirty + sum->lazy + sum->prefaulted + sum->metadata;
}

void hk_stats_take(struct hk_stats *s)
{
	*s = (struct hk_stats){ 0 };
	add_heaps(s);
	add_up_classes(s);
	add_spans(0, hk_arena_end(), s);
	add_spans(HK_ARENA_UNITS, HK_ARENA_UNITS + hk_arena_windows() * HK_WINDOW_UNITS, s);
	add_the_rest(&s->sum);
	s->sum.held = hk_release_held();
	s->sum.bound = hk_release_bound();
	s->sum.purged = hk_release_purged();
	s->sum.system_calls = system_calls();
	s->sum.heaps_running = hk_heaps_running();
	s->sum.heaps_parked = hk_heaps_parked();
	s->sum.squeezed = (uint32_t)hk_squeeze_state();
	s->sum.squeezes = hk_squeeze_times();
}

void hak_stats_get(struct hak_stats *out)
{
	struct hk_stats s;

	hk_stats_take(&s);
	*out = s.sum;
}

size_t hak_stats_classes(struct hak_class_stats *out, size_t count)
{
	struct hk_stats s;

	hk_stats_take(&s);
	for (size_t i = 0; i < hk_min(count, HK_BINS - 1); i++)
		out[i] = s.class[i + 1];
	return HK_BINS - 1;
}

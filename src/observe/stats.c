/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "observe/stats.h"

#include "hakmem/hakmem.h"
#include "heap/heap.h"
#include "heap/quarantine.h"
#include "os/os.h"
#include "slab/huge.h"
#include "superslab/meta.h"
#include "superslab/pool.h"
#include "superslab/release.h"
#include "superslab/squeeze.h"

static void for_each_heap(void (*fn)(struct hk_heap *h, void *arg), void *arg)
{
	for (uint32_t id = HK_FIRST_ID; id < hk_heap_ids(); id++) {
		struct hk_heap *h = hk_heap_by_id(id);

		hk_lock_take(&h->lock);
		fn(h, arg);
		hk_lock_drop(&h->lock);
	}
}

static void add_list(const struct hk_slab *s, struct hk_class_count *c)
{
	for (; s != NULL; s = s->next) {
		c->slabs++;
		c->units += s->units;
		c->capacity += s->capacity;
		c->carved += s->carved;
		c->used += s->used;
	}
}

static void add_classes(struct hk_heap *h, void *arg)
{
	struct hk_class_count *count = arg;

	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		add_list(h->class[bin].partial.head, &count[bin]);
		add_list(h->class[bin].full.head, &count[bin]);
	}
}

void hk_stats_classes(struct hk_class_count count[HK_BINS])
{
	for (unsigned bin = 0; bin < HK_BINS; bin++)
		count[bin] = (struct hk_class_count){ 0 };
	for_each_heap(add_classes, count);
}

static void add_warm(struct hk_heap *h, void *arg) { *(size_t *)arg += h->warm_units; }

size_t hk_stats_warm_units(void)
{
	size_t units = 0;

	for_each_heap(add_warm, &units);
	return units;
}

static void add_heap(struct hk_heap *h, void *arg)
{
	struct hak_stats *out = arg;

	hk_heap_say_all(h);
	out->blocks_out += atomic_load_explicit(&h->blocks_out, memory_order_relaxed);
	out->heaps++;
	/* buried spans have no pages; what is committed is made up below */
	if (h->hardened)
		out->committed += (size_t)h->quarantine->units << HK_UNIT_SHIFT;
}

/* What the calling thread's caches hold: the accounts count it as out. */
static size_t cached_here(void)
{
	const struct hk_heap *h = hk_front.heap;
	size_t bytes = 0;

	if (h == NULL || hk_heap_is_direct(h))
		return 0;
	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		const struct hk_bin *b = &h->face.bin[bin];

		bytes += (b->limit - b->room) * hk_class_size(bin);
	}
	for (uint32_t i = 0; i < HK_WAYS; i++) {
		const struct hk_way *way = &h->way[i];

		if (way->chain.count != 0)
			bytes += way->chain.count * hk_slab_block_bytes(way->slab);
	}
	return bytes + h->bigcache.units * HK_UNIT_BYTES;
}

static uint64_t system_calls(void)
{
	struct hk_os_counts c = hk_os_counts();

	return c.map + c.unmap + c.remap + c.purge + c.populate + c.other;
}

void hak_stats_get(struct hak_stats *out)
{
	struct hk_huge_count huge = hk_huge_count();
	size_t free_units, dirty_units, cached = cached_here();

	*out = (struct hak_stats){ 0 };
	for_each_heap(add_heap, out);
	hk_pool_count(&free_units, &dirty_units);
	out->mapped = hk_arena_mapped() + huge.live_bytes + huge.cached_bytes;
	out->committed = hk_arena_mapped() - ((free_units - dirty_units) << HK_UNIT_SHIFT) -
			 out->committed + huge.live_bytes + huge.dirty_bytes;
	out->live = hk_release_live();
	out->live -= hk_min(out->live, cached);
	out->huge = huge.live_bytes;
	out->huge_blocks = huge.live_blocks;
	out->held = hk_release_held();
	out->bound = hk_release_bound();
	out->metadata = hk_meta_bytes();
	out->purged = hk_release_purged();
	out->system_calls = system_calls();
	out->heaps_running = hk_heaps_running();
	out->heaps_parked = hk_heaps_parked();
	out->squeezed = (uint32_t)hk_squeeze_state();
	out->squeezes = hk_squeeze_times();
}

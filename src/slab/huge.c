/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "slab/huge.h"

#include <string.h>

#include "base/config.h"
#include "base/options.h"
#include "os/os.h"
#include "slab/harden.h"
#include "superslab/pool.h"
#include "superslab/registry.h"
#include "superslab/release.h"

/* A cached range serves requests that waste at most a quarter of what they ask for. */
#define FITS(have, want) ((have) >= (want) && (have) - (want) <= (want) / 4)

static void count_out(int64_t bytes)
{
	atomic_fetch_add_explicit(&hk_out, bytes, memory_order_relaxed);
}

static size_t usable_of(const struct hk_huge *e)
{
	return e->bytes - (e->hardened ? hk_harden_tail() : 0);
}

struct search {
	size_t bytes, align;
	struct hk_huge *best;
};

static bool look(struct hk_huge *e, void *arg)
{
	struct search *s = arg;

	if (e->state == HK_HUGE_CACHED && !e->hardened && FITS(e->bytes, s->bytes) &&
	    (e->address & (s->align - 1)) == 0 && (s->best == NULL || e->bytes < s->best->bytes))
		s->best = e;
	return false;
}

/* Makes a cached range live again; NULL when none fits. */
static void *from_cache(size_t bytes, size_t align, const struct hk_huge *as, bool *zero,
			size_t *got)
{
	struct search s = { bytes, align, NULL };
	void *p = NULL;

	hk_registry_lock();
	hk_registry_each(look, &s);
	if (s.best != NULL) {
		s.best->state = HK_HUGE_LIVE;
		s.best->owner = as->owner;
		s.best->hardened = as->hardened;
		*zero = s.best->zero;
		*got = s.best->bytes;
		if (s.best->dirty)
			hk_dirty_add(-(int64_t)s.best->bytes);
		p = (void *)s.best->address;
	}
	hk_registry_unlock();
	return p;
}

static void *map_aligned(size_t bytes, size_t align)
{
	size_t slack = align > hk_os_page() ? align - hk_os_page() : 0;
	char *raw, *start;

	if (bytes + slack < bytes)
		return NULL;
	raw = hk_os_map(bytes + slack);
	if (raw == NULL || slack == 0)
		return raw;
	start = (char *)hk_align_up((uintptr_t)raw, align);
	if (start != raw)
		hk_os_unmap(raw, (size_t)(start - raw));
	if (slack != (size_t)(start - raw))
		hk_os_unmap(start + bytes, slack - (size_t)(start - raw));
	return start;
}

static void *map_new(size_t bytes, size_t align, const struct hk_huge *as)
{
	void *p = map_aligned(bytes, align);
	struct hk_huge entry = *as;
	bool known;

	if (p == NULL) { /* what is cached may stand in the way */
		hk_huge_reclaim();
		p = map_aligned(bytes, align);
	}
	if (p == NULL)
		return NULL;
	entry.address = (uintptr_t)p;
	entry.bytes = bytes;
	hk_registry_lock();
	known = hk_registry_insert(&entry);
	hk_registry_unlock();
	if (!known) {
		hk_os_unmap(p, bytes);
		return NULL;
	}
	return p;
}

/* `as`: what is to be in the entry. */
static void *alloc(size_t size, size_t align, bool want_zero, const struct hk_huge *as, size_t *got)
{
	size_t bytes = hk_align_up(hk_max(size, 1), hk_os_page());
	bool zero = true;
	void *p;

	if (bytes < size)
		return NULL;
	p = from_cache(bytes, align, as, &zero, &bytes);
	if (p == NULL)
		p = map_new(bytes, align, as);
	if (p == NULL)
		return NULL;
	count_out((int64_t)bytes);
	/* to clear it, not to give it back: pages that are not there need not be written */
	if (want_zero && !zero && !hk_os_purge(p, bytes))
		memset(p, 0, bytes);
	*got = bytes;
	return p;
}

void *hk_huge_alloc(size_t size, size_t align, bool want_zero, uint32_t owner)
{
	const struct hk_huge as = { .owner = owner, .state = HK_HUGE_LIVE };
	size_t got;

	return alloc(size, align, want_zero, &as, &got);
}

void *hk_huge_alloc_hardened(size_t size, size_t align, uint32_t owner)
{
	const struct hk_huge as = { .owner = owner, .state = HK_HUGE_LIVE, .hardened = true };
	size_t got, tail = hk_harden_tail();
	void *p;

	if (size > SIZE_MAX - tail)
		return NULL;
	p = alloc(size + tail, align, true, &as, &got);
	if (p != NULL)
		hk_harden_seal(p, got);
	return p;
}

size_t hk_huge_usable(const void *p, uint32_t *owner)
{
	struct hk_huge *e;
	size_t bytes = 0;

	if (!hk_registry_is_used())
		return 0;
	hk_registry_lock();
	e = hk_registry_find(p);
	if (e != NULL && e->state == HK_HUGE_LIVE) {
		bytes = usable_of(e);
		*owner = e->owner;
	}
	hk_registry_unlock();
	return bytes;
}

struct tally {
	size_t bytes;
	uint32_t ranges;
};

static bool add_cached(struct hk_huge *e, void *arg)
{
	struct tally *t = arg;

	if (e->state != HK_HUGE_LIVE) {
		t->bytes += e->bytes;
		t->ranges++;
	}
	return false;
}

/* The entry has just left the program's hands. Called with the registry locked. */
static bool may_keep(void)
{
	struct tally t = { 0, 0 };

	hk_registry_each(add_cached, &t);
	return t.bytes <= hk_option(HK_OPT_HUGE_KEEP) && t.ranges <= HK_HUGE_RANGES;
}

/* Dirty pages are kept while the bound has room for all of them, else the range alone is. */
static void retire(void *p, size_t bytes, bool keep)
{
	bool dirty, gone;
	struct hk_huge *e;

	count_out(-(int64_t)bytes); /* first: the bound follows what is live */
	dirty = hk_release_held() + bytes <= hk_release_bound();
	gone = keep && !dirty && hk_release_purge(p, bytes) == HK_PURGED_ZERO;
	keep = keep && (dirty || gone);
	hk_registry_lock();
	e = hk_registry_find(p);
	if (keep) {
		e->state = HK_HUGE_CACHED;
		e->zero = gone;
		e->dirty = dirty;
		if (dirty)
			hk_dirty_add((int64_t)bytes);
	} else {
		hk_registry_remove(e, true);
	}
	hk_registry_unlock();
	if (!keep)
		hk_os_unmap(p, bytes);
	hk_release_check(bytes); /* live has fallen, and the bound with it */
}

struct lot {
	uint64_t random;
	struct hk_huge *drawn;
	uint32_t seen;
};

static bool draw(struct hk_huge *e, void *arg)
{
	struct lot *lot = arg;

	if (e->state == HK_HUGE_CACHED && e->hardened &&
	    hk_harden_random(&lot->random) % ++lot->seen == 0)
		lot->drawn = e;
	return false;
}

/* HU2: one range at a time leaves the quarantine, and the process, while there are too many. */
static void keep_quarantine_small(void)
{
	for (;;) {
		struct lot lot = { hk_os_random(), NULL, 0 };
		struct hk_huge entry = { 0 };

		hk_registry_lock();
		if (!may_keep())
			hk_registry_each(draw, &lot);
		if (lot.drawn != NULL) {
			entry = *lot.drawn;
			hk_registry_remove(lot.drawn, true);
		}
		hk_registry_unlock();
		if (lot.drawn == NULL)
			return;
		hk_os_unmap((void *)entry.address, entry.bytes);
	}
}

/* Into the quarantine: guarded, and so without pages; unmapped where there are no guards. */
static void bury(void *p, size_t bytes)
{
	bool guarded = hk_os_guard(p, bytes);
	struct hk_huge *e;

	count_out(-(int64_t)bytes);
	hk_registry_lock();
	e = hk_registry_find(p);
	if (guarded) {
		e->state = HK_HUGE_CACHED;
		e->zero = e->dirty = false;
	} else {
		hk_registry_remove(e, true);
	}
	hk_registry_unlock();
	if (!guarded)
		hk_os_unmap(p, bytes);
	keep_quarantine_small();
	hk_release_check(bytes);
}

void hk_huge_explain(const void *p, struct hk_offence where)
{
	const struct hk_huge *e;
	struct hk_huge around = { 0 };
	size_t freed;

	hk_registry_lock();
	e = hk_registry_around(p);
	if (e != NULL)
		around = *e;
	freed = hk_registry_was(p);
	hk_registry_unlock();
	if (around.state == HK_HUGE_LIVE)
		hk_die(where, "%p is %zu bytes into a block of %zu bytes", p,
		       (size_t)((uintptr_t)p - around.address), usable_of(&around));
	if (around.address == (uintptr_t)p && around.bytes != 0)
		freed = usable_of(&around);
	if (freed != 0)
		hk_die(where, "%p (%zu bytes) is already free", p, freed);
	if (around.bytes != 0)
		hk_die(where, "invalid pointer %p", p);
}

void hk_huge_free(void *p, struct hk_offence where)
{
	struct hk_huge *e;
	size_t bytes = 0;
	bool keep = false, hardened = false;

	hk_registry_lock();
	e = hk_registry_find(p);
	if (e != NULL && e->state == HK_HUGE_LIVE) {
		bytes = e->bytes;
		hardened = e->hardened;
		if (hardened)
			hk_harden_verify(p, usable_of(e), where);
		e->state = HK_HUGE_RETIRING;
		keep = may_keep();
	}
	hk_registry_unlock();
	if (bytes == 0)
		hk_huge_explain(p, where); /* two threads free it at once */
	else if (hardened)
		bury(p, bytes);
	else
		retire(p, bytes, keep);
}

/* The mapping of e gets another length, and perhaps place; a tail goes with its end. */
static void *remap(const struct hk_huge *e, size_t bytes)
{
	void *p = (void *)e->address, *moved;

	if (bytes == e->bytes)
		return p;
	if (!e->hardened)
		return hk_os_remap(p, e->bytes, bytes, true);
	hk_harden_unseal(p, e->bytes);
	moved = hk_os_remap(p, e->bytes, bytes, true);
	hk_harden_seal(moved != NULL ? moved : p, moved != NULL ? bytes : e->bytes);
	return moved;
}

void *hk_huge_resize(void *p, size_t size, struct hk_offence where)
{
	size_t bytes = 0;
	struct hk_huge *e, entry;
	void *moved = NULL;

	if (size > PTRDIFF_MAX)
		return NULL;
	/* With the lock: somebody else may get the old address as soon as the pages have left it. The
	 * entry's own place in the table is free again, so it can't be refused. */
	hk_registry_lock();
	e = hk_registry_find(p);
	if (e != NULL && e->state == HK_HUGE_LIVE) {
		entry = *e;
		if (e->hardened)
			hk_harden_verify(p, usable_of(e), where);
		bytes = hk_align_up(size + (e->hardened ? hk_harden_tail() : 0), hk_os_page());
		moved = remap(e, bytes);
	}
	if (moved != NULL) {
		count_out((int64_t)bytes - (int64_t)entry.bytes);
		hk_registry_remove(e, moved != p);
		entry.address = (uintptr_t)moved;
		entry.bytes = bytes;
		hk_registry_insert(&entry);
	}
	hk_registry_unlock();
	return moved;
}

static bool is_owned(struct hk_huge *e, void *arg)
{
	return e->state == HK_HUGE_LIVE && e->owner == *(uint32_t *)arg;
}

void hk_huge_free_all(uint32_t owner)
{
	struct hk_huge *e;
	void *p;

	do {
		hk_registry_lock();
		e = hk_registry_each(is_owned, &owner);
		p = e != NULL ? (void *)e->address : NULL;
		hk_registry_unlock();
		if (p != NULL)
			hk_huge_free(p, (struct hk_offence){ "hak_heap_destroy", NULL });
	} while (p != NULL);
}

static bool is_dirty(struct hk_huge *e, void *arg)
{
	(void)arg;
	return e->state == HK_HUGE_CACHED && e->dirty;
}

size_t hk_huge_purge(void)
{
	struct hk_huge *e;
	enum hk_purged purged;
	void *p = NULL;
	size_t bytes = 0;

	hk_registry_lock();
	e = hk_registry_each(is_dirty, NULL);
	if (e != NULL) {
		p = (void *)e->address;
		bytes = e->bytes;
		e->state = HK_HUGE_PURGING;
	}
	hk_registry_unlock();
	if (p == NULL)
		return 0;
	purged = hk_release_purge(p, bytes);
	hk_registry_lock();
	e = hk_registry_find(p);
	e->state = HK_HUGE_CACHED;
	e->zero = purged == HK_PURGED_ZERO;
	e->dirty = purged == HK_PURGED_NOT;
	hk_registry_unlock();
	if (purged == HK_PURGED_NOT)
		return 0;
	hk_dirty_add(-(int64_t)bytes);
	return bytes;
}

static bool is_cached(struct hk_huge *e, void *arg)
{
	(void)arg;
	return e->state == HK_HUGE_CACHED;
}

size_t hk_huge_trim(void)
{
	size_t sum = 0;

	for (;;) {
		struct hk_huge *e, entry;

		hk_registry_lock();
		e = hk_registry_each(is_cached, NULL);
		if (e == NULL)
			break;
		entry = *e;
		hk_registry_remove(e, true);
		hk_registry_unlock();
		if (entry.dirty) {
			hk_dirty_add(-(int64_t)entry.bytes);
			sum += entry.bytes;
		}
		hk_os_unmap((void *)entry.address, entry.bytes);
	}
	hk_registry_unlock();
	return sum;
}

static bool settle(struct hk_huge *e, void *arg)
{
	(void)arg;
	if (e->state == HK_HUGE_RETIRING)
		hk_dirty_add((int64_t)e->bytes);
	if (e->state != HK_HUGE_LIVE && e->state != HK_HUGE_CACHED) {
		e->state = HK_HUGE_CACHED;
		e->zero = false;
		e->dirty = true;
	}
	return false;
}

void hk_huge_reset(void) { hk_registry_each(settle, NULL); }

void hk_huge_reclaim(void)
{
	hk_huge_trim();
	hk_release_all();
	hk_pool_unmap();
}

static bool add_count(struct hk_huge *e, void *arg)
{
	struct hk_huge_count *c = arg;

	if (e->state == HK_HUGE_LIVE) {
		c->live_bytes += e->bytes;
		c->live_blocks++;
	} else if (e->state == HK_HUGE_CACHED) {
		c->cached_bytes += e->bytes;
		c->dirty_bytes += e->dirty ? e->bytes : 0;
	}
	return false;
}

struct hk_huge_count hk_huge_count(void)
{
	struct hk_huge_count count = { 0 };

	hk_registry_lock();
	hk_registry_each(add_count, &count);
	hk_registry_unlock();
	return count;
}

struct visit {
	bool (*fn)(void *p, size_t bytes, uint32_t owner, void *arg);
	void *arg;
};

static bool visit_live(struct hk_huge *e, void *arg)
{
	struct visit *v = arg;

	return e->state == HK_HUGE_LIVE &&
	       !v->fn((void *)e->address, usable_of(e), e->owner, v->arg);
}

bool hk_huge_walk(bool (*fn)(void *p, size_t bytes, uint32_t owner, void *arg), void *arg)
{
	struct visit v = { fn, arg };

	return hk_registry_each(visit_live, &v) == NULL;
}

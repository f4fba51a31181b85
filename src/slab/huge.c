/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "slab/huge.h"

#include <string.h>

#include "base/config.h"
#include "base/options.h"
#include "os/os.h"
#include "slab/harden.h"
#include "slab/kept.h"
#include "superslab/pool.h"
#include "superslab/registry.h"
#include "superslab/release.h"

static void count_out(int64_t bytes)
{
	hk_out_add(bytes);
	atomic_fetch_add_explicit(&hk_huge_committed, bytes, memory_order_relaxed);
}

/* HU3 */
static void count_dirty(int64_t bytes)
{
	hk_dirty_add(bytes);
	atomic_fetch_add_explicit(&hk_huge_committed, bytes, memory_order_relaxed);
}

static size_t usable_of(const struct hk_huge *e)
{
	return e->bytes - (e->hardened ? hk_harden_tail() : 0);
}

/* Makes a cached range live again; NULL when none fits. */
static void *from_cache(size_t bytes, size_t align, bool want_zero, const struct hk_huge *as,
			bool *zero, size_t *got)
{
	struct hk_huge *e;
	void *p = NULL;

	hk_registry_lock();
	e = hk_kept_find(bytes, align);
	if (e != NULL) {
		hk_kept_remove(e);
		if (e->zero && !want_zero)
			hk_kept_note_refault(e);
		e->state = HK_HUGE_LIVE;
		e->owner = as->owner;
		e->hardened = as->hardened;
		*zero = e->zero;
		*got = e->bytes;
		if (e->dirty)
			count_dirty(-(int64_t)e->bytes);
		p = (void *)e->address;
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

/* A new mapping becomes a live block. With the lock since before it was made: a fork must not come
 * between the mapping and its entry. */
static bool enter(void *p, size_t bytes, const struct hk_huge *as)
{
	struct hk_huge entry = *as;

	entry.address = (uintptr_t)p;
	entry.bytes = bytes;
	if (!hk_registry_insert(&entry))
		return false;
	hk_os_name(p, bytes, "hakmem: huge block");
	return true;
}

static void *map_new(size_t bytes, size_t align, const struct hk_huge *as)
{
	void *p;

	hk_registry_lock();
	p = map_aligned(bytes, align);
	if (p != NULL && !enter(p, bytes, as)) {
		hk_os_unmap(p, bytes);
		p = NULL;
	}
	hk_registry_unlock();
	return p;
}

/* A range that has left the registry; for fork, the caller has said that it is leaving. */
static void unmap(void *p, size_t bytes)
{
	hk_os_unmap(p, bytes);
	hk_registry_note_gone();
}

/* `as`: what is to be in the entry. */
static void *alloc(size_t size, size_t align, bool want_zero, const struct hk_huge *as, size_t *got)
{
	size_t bytes = hk_align_up(hk_max(size, 1), hk_os_page());
	bool zero = true;
	void *p;

	if (bytes < size)
		return NULL;
	p = from_cache(bytes, align, want_zero, as, &zero, &bytes);
	if (p == NULL)
		p = map_new(bytes, align, as);
	if (p == NULL) { /* what is cached may stand in the way */
		hk_huge_reclaim();
		p = map_new(bytes, align, as);
	}
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

/* Dirty pages are kept while the bound has room for all of them, else the range alone is. `listed`: it
 * is among those that are kept. */
static void retire(void *p, size_t bytes, bool listed)
{
	bool dirty, gone;
	struct hk_huge *e;

	count_out(-(int64_t)bytes); /* first: the bound follows what is live */
	dirty = hk_release_held() + bytes <= hk_release_bound();
	gone = listed && !dirty && hk_release_purge(p, bytes) == HK_PURGED_ZERO;
	hk_registry_lock();
	e = hk_registry_find(p);
	if (listed && !dirty && !gone)
		hk_kept_remove(e);
	listed = listed && (dirty || gone);
	if (listed) {
		e->state = HK_HUGE_CACHED;
		e->zero = gone;
		e->dirty = dirty;
		e->since = hk_os_now_ns();
		if (dirty)
			count_dirty((int64_t)bytes);
	} else {
		hk_registry_remove(e, true);
		hk_registry_note_leaving();
	}
	hk_registry_unlock();
	if (!listed)
		unmap(p, bytes);
	hk_release_check(bytes); /* live has fallen, and the bound with it */
}

/* HU2: one range at a time leaves the quarantine, and the process, until there is room for p. */
static void make_room(const void *p)
{
	struct hk_huge *drawn;

	hk_registry_lock();
	while (!hk_kept_has_room(hk_registry_find(p)) && (drawn = hk_kept_draw()) != NULL) {
		struct hk_huge entry = *drawn;

		hk_kept_remove(drawn);
		hk_registry_remove(drawn, true);
		hk_registry_note_leaving();
		hk_registry_unlock();
		unmap((void *)entry.address, entry.bytes);
		hk_registry_lock();
	}
	hk_registry_unlock();
}

/* Into the quarantine: guarded, and so without pages; unmapped where there are no guards. */
static void bury(void *p, size_t bytes)
{
	bool stays = hk_os_guard(p, bytes);
	struct hk_huge *e;

	count_out(-(int64_t)bytes);
	if (stays)
		make_room(p);
	hk_registry_lock();
	e = hk_registry_find(p);
	stays = stays && hk_kept_has_room(e);
	if (stays) {
		e->state = HK_HUGE_CACHED;
		e->zero = e->dirty = false;
		hk_kept_add(e);
	} else {
		hk_registry_remove(e, true);
		hk_registry_note_leaving();
	}
	hk_registry_unlock();
	if (!stays)
		unmap(p, bytes);
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
	bool listed = false, hardened = false;

	hk_registry_lock();
	e = hk_registry_find(p);
	if (e != NULL && e->state == HK_HUGE_LIVE) {
		bytes = e->bytes;
		hardened = e->hardened;
		if (hardened)
			hk_harden_verify(p, usable_of(e), where);
		e->state = HK_HUGE_RETIRING;
		listed = !hardened && hk_kept_has_room(e);
		if (listed)
			hk_kept_add(e);
	}
	hk_registry_unlock();
	if (bytes == 0)
		hk_huge_explain(p, where); /* two threads free it at once */
	else if (hardened)
		bury(p, bytes);
	else
		retire(p, bytes, listed);
}

static void move_back(void *to, size_t to_bytes, void *p, size_t bytes)
{
	memcpy(to, p, to_bytes);
	hk_os_unmap(p, bytes);
}

static char *move_and_grow(void *from, size_t from_bytes, size_t bytes)
{
	char *moved = hk_os_move(from, from_bytes), *p;

	if (moved == NULL)
		return NULL;
	p = hk_os_remap(moved, from_bytes, bytes, true);
	if (p == NULL)
		move_back(from, from_bytes, moved, from_bytes);
	return p;
}

void *hk_huge_take_over(void *from, size_t from_bytes, size_t size, uint32_t owner)
{
	size_t bytes = hk_align_up(size, hk_os_page());
	const struct hk_huge as = { .owner = owner, .state = HK_HUGE_LIVE };
	char *p;

	if (bytes < size)
		return NULL;
	hk_registry_lock();
	p = move_and_grow(from, from_bytes, bytes);
	if (p != NULL && !enter(p, bytes, &as)) {
		move_back(from, from_bytes, p, bytes);
		p = NULL;
	}
	hk_registry_unlock();
	if (p != NULL)
		count_out((int64_t)bytes);
	return p;
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

size_t hk_huge_purge(uint64_t until)
{
	struct hk_huge *e;
	enum hk_purged purged;
	void *p = NULL;
	size_t bytes = 0;

	hk_registry_lock();
	e = hk_kept_dirty(until);
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
	e->since = hk_os_now_ns();
	if (!e->dirty)
		count_dirty(-(int64_t)bytes);
	hk_registry_unlock();
	return purged != HK_PURGED_NOT ? bytes : 0;
}

size_t hk_huge_trim(void)
{
	size_t sum = 0;

	for (;;) {
		struct hk_huge *e, entry;

		hk_registry_lock();
		e = hk_kept_first();
		if (e == NULL)
			break;
		hk_kept_remove(e);
		entry = *e;
		hk_registry_remove(e, true);
		hk_registry_note_leaving();
		if (entry.dirty) {
			count_dirty(-(int64_t)entry.bytes);
			sum += entry.bytes;
		}
		hk_registry_unlock();
		unmap((void *)entry.address, entry.bytes);
	}
	hk_registry_unlock();
	return sum;
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

/* Freed, and in the hand of a thread that is gone. */
static bool is_stranded(struct hk_huge *e, void *arg)
{
	(void)arg;
	return e->state == HK_HUGE_RETIRING || e->state == HK_HUGE_PURGING;
}

void hk_huge_reset(void)
{
	struct hk_huge_count now = { 0 };
	struct hk_huge *e;

	while ((e = hk_registry_each(is_stranded, NULL)) != NULL) {
		struct hk_huge entry = *e;

		if (!hk_kept_has(e)) {
			hk_registry_remove(e, true);
			hk_os_unmap((void *)entry.address, entry.bytes);
			continue;
		}
		if (e->state == HK_HUGE_RETIRING)
			hk_dirty_add((int64_t)e->bytes);
		e->state = HK_HUGE_CACHED;
		e->zero = false;
		e->dirty = true;
	}
	hk_registry_each(add_count, &now);
	atomic_store_explicit(&hk_huge_committed, (int64_t)(now.live_bytes + now.dirty_bytes),
			      memory_order_relaxed);
}

void hk_huge_reclaim(void)
{
	hk_huge_trim();
	hk_release_all();
	hk_pool_unmap();
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

/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "superslab/registry.h"

#include "base/check.h"
#include "base/config.h"
#include "os/lock.h"

/* The first table is zero-fill memory of the library. */
#define FIRST_SLOTS 64u
/* How many unmapped blocks are remembered, to tell a second free from a foreign pointer. */
#define GRAVES 64u

static struct hk_huge first_table[FIRST_SLOTS];

static struct {
	struct hk_lock lock;
	struct hk_huge *table;
	size_t slots;        /* a power of two */
	_Atomic size_t used; /* [lock HUGE writes, any reads] */
	struct {
		uintptr_t address;
		size_t bytes;
	} grave[GRAVES];
	uint32_t graves;          /* ever dug */
	_Atomic uint32_t leaving; /* ranges that are being unmapped [lock HUGE adds, any] */
} registry = { .lock = HK_LOCK_INIT(HK_RANK_HUGE), .table = first_table, .slots = FIRST_SLOTS };

bool hk_registry_is_used(void)
{
	return atomic_load_explicit(&registry.used, memory_order_relaxed) != 0;
}

void hk_registry_lock(void) { hk_lock_take(&registry.lock); }
void hk_registry_unlock(void) { hk_lock_drop(&registry.lock); }
void hk_registry_reset(void) { hk_lock_reset(&registry.lock); }

void hk_registry_lock_settled(void)
{
	hk_registry_lock();
	while (atomic_load_explicit(&registry.leaving, memory_order_acquire) != 0)
		hk_os_yield();
}

void hk_registry_note_leaving(void)
{
	atomic_fetch_add_explicit(&registry.leaving, 1, memory_order_relaxed);
}

void hk_registry_note_gone(void)
{
	atomic_fetch_sub_explicit(&registry.leaving, 1, memory_order_release);
}

static size_t home(uintptr_t address)
{
	/* Fibonacci hashing of the page number */
	return (size_t)((address >> 12) * 0x9E3779B97F4A7C15ull >> 32) & (registry.slots - 1);
}

struct hk_huge *hk_registry_find(const void *p)
{
	size_t i = home((uintptr_t)p);

	while (registry.table[i].state != HK_HUGE_NONE) {
		if (registry.table[i].address == (uintptr_t)p)
			return &registry.table[i];
		i = (i + 1) & (registry.slots - 1);
	}
	return NULL;
}

struct hk_huge *hk_registry_around(const void *p)
{
	for (size_t i = 0; i < registry.slots; i++) {
		struct hk_huge *e = &registry.table[i];

		if (e->state != HK_HUGE_NONE && (uintptr_t)p - e->address < e->bytes)
			return e;
	}
	return NULL;
}

static void place(const struct hk_huge *entry)
{
	size_t i = home(entry->address);

	while (registry.table[i].state != HK_HUGE_NONE)
		i = (i + 1) & (registry.slots - 1);
	registry.table[i] = *entry;
}

static bool grow(void)
{
	struct hk_huge *old = registry.table;
	size_t old_slots = registry.slots;
	size_t bytes = hk_align_up(2 * old_slots * sizeof(*old), hk_os_page());
	struct hk_huge *table = hk_os_map(bytes);

	if (table == NULL)
		return false;
	hk_os_name(table, bytes, "hakmem: table of huge blocks");
	registry.table = table;
	registry.slots = 2 * old_slots;
	for (size_t i = 0; i < old_slots; i++) {
		if (old[i].state != HK_HUGE_NONE)
			place(&old[i]);
	}
	if (old != first_table)
		hk_os_unmap(old, hk_align_up(old_slots * sizeof(*old), hk_os_page()));
	return true;
}

bool hk_registry_insert(const struct hk_huge *entry)
{
	hk_assert(hk_registry_find((void *)entry->address) == NULL);
	/* when memory is short, a fuller table is only slower */
	if (2 * (registry.used + 1) > registry.slots && !grow() &&
	    8 * (registry.used + 1) > 7 * registry.slots)
		return false;
	place(entry);
	registry.used++;
	for (uint32_t i = 0; i < GRAVES; i++) {
		if (registry.grave[i].address == entry->address)
			registry.grave[i].address = 0;
	}
	return true;
}

void hk_registry_remove(struct hk_huge *entry, bool bury)
{
	size_t hole = (size_t)(entry - registry.table);
	size_t i = hole, mask = registry.slots - 1;

	if (bury) {
		registry.grave[registry.graves % GRAVES].address = entry->address;
		registry.grave[registry.graves++ % GRAVES].bytes = entry->bytes;
	}
	/* RG1: entries behind the hole that may not stay there move up */
	for (;;) {
		i = (i + 1) & mask;
		if (registry.table[i].state == HK_HUGE_NONE)
			break;
		if (((i - home(registry.table[i].address)) & mask) < ((i - hole) & mask))
			continue;
		registry.table[hole] = registry.table[i];
		hole = i;
	}
	registry.table[hole] = (struct hk_huge){ 0 };
	registry.used--;
}

size_t hk_registry_was(const void *p)
{
	for (uint32_t i = 0; i < GRAVES; i++) {
		if (registry.grave[i].address == (uintptr_t)p && p != NULL)
			return registry.grave[i].bytes;
	}
	return 0;
}

struct hk_huge *hk_registry_each(bool (*fn)(struct hk_huge *entry, void *arg), void *arg)
{
	for (size_t i = 0; i < registry.slots; i++) {
		struct hk_huge *e = &registry.table[i];

		if (e->state != HK_HUGE_NONE && fn(e, arg))
			return e;
	}
	return NULL;
}

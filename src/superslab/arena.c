/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "superslab/arena.h"

#include "base/check.h"
#include "base/options.h"
#include "os/os.h"
#include "superslab/meta.h"

/* Pieces of the first SuperSlab: under 2 MiB, so that THP=always does not fault in all of it for a
 * program that needs a few KiB. */
#define FIRST_PIECE 8u
/* Growth: an eighth of what is mapped, at most this much. */
#define MAX_STEP (4 * HK_SS_UNITS)
/* How often growth steps over somebody else's mapping before it lets the kernel choose. */
#define MAX_SKIPS 64u
/* The random gap above the arena: up to 64 GiB. */
#define GAP_SUPERSLABS ((uint64_t)1 << 15)
/* Where the kernel maps low: 16 GiB are left to it. */
#define LOW_GAP_UNITS ((hk_unit)(16 * HK_GiB >> HK_UNIT_SHIFT))

_Atomic uint32_t hk_page_map[HK_MAP_UNITS];
alignas(64) uintptr_t hk_arena_base HK_NEAR; /* read by every free: alone on its line */
struct hk_superslab *_Atomic hk_ss_table[HK_MAP_UNITS / HK_SS_UNITS];

/* Clearing 2 MiB takes longer than this, a fault of a small page less: none came. So it may be once, when
 * another thread has touched the SuperSlab first; but not often. */
#define HUGE_LEAST_NS 15000u
#define HUGE_MISSES   4u
/* 512 faults of small pages would take as long: more is what the kernel needs to make room. */
#define HUGE_MOST_NS 600000u
#define HUGE_TRIALS  4u

static struct {
	hk_unit next;          /* no unmapped unit worth trying lies below it [lock POOL] */
	_Atomic hk_unit end;   /* one past the highest unit ever mapped [lock POOL, any reads] */
	_Atomic size_t mapped; /* units */
	_Atomic uint32_t huge_misses; /* huge pages that did not pay, less those that did */
	_Atomic uint32_t windows;     /* release / acquire */
	uintptr_t window[HK_WINDOWS]; /* address >> HK_WINDOW_SHIFT; [const] below `windows` */
} arena;

#define ARENA_BYTES ((uintptr_t)HK_ARENA_UNITS << HK_UNIT_SHIFT)

hk_unit hk_arena_unit_far(const void *p)
{
	uint32_t windows = hk_arena_windows();

	for (uint32_t i = 0; i < windows; i++) {
		if (arena.window[i] == (uintptr_t)p >> HK_WINDOW_SHIFT) {
			uint32_t in_window = (uint32_t)((uintptr_t)p >> HK_UNIT_SHIFT);

			return HK_ARENA_UNITS + i * HK_WINDOW_UNITS + in_window % HK_WINDOW_UNITS;
		}
	}
	return HK_NO_UNIT;
}

void *hk_arena_address_far(hk_unit unit)
{
	uint32_t beyond = unit - HK_ARENA_UNITS;
	uintptr_t window = arena.window[beyond / HK_WINDOW_UNITS] << HK_WINDOW_SHIFT;
	return (void *)(window + ((uintptr_t)(beyond % HK_WINDOW_UNITS) << HK_UNIT_SHIFT));
}

size_t hk_arena_mapped(void)
{
	return atomic_load_explicit(&arena.mapped, memory_order_relaxed) << HK_UNIT_SHIFT;
}

hk_unit hk_arena_end(void) { return atomic_load_explicit(&arena.end, memory_order_relaxed); }

uint32_t hk_arena_windows(void)
{
	return atomic_load_explicit(&arena.windows, memory_order_acquire);
}

/* Where the kernel puts mappings: beside this library when the loader mapped it, else where a
 * mapping lands (static programs lie far below). */
static uintptr_t seen_address(void)
{
	uintptr_t here = (uintptr_t)&hk_page_map;
	void *probe;

	if (here > ARENA_BYTES + (GAP_SUPERSLABS + 1) * HK_SS_BYTES)
		return here;
	probe = hk_os_map(hk_os_page());
	if (probe == NULL)
		return 0;
	hk_os_unmap(probe, hk_os_page());
	return (uintptr_t)probe;
}

static void set_base(uintptr_t base) { __atomic_store_n(&hk_arena_base, base, __ATOMIC_RELAXED); }

/* Far enough below that the arena, growing up, and the kernel, growing down, do not meet. */
static bool choose_base(void)
{
	uintptr_t seen = hk_align_down(seen_address(), HK_SS_BYTES);
	uintptr_t gap = (uintptr_t)(hk_os_seed() % GAP_SUPERSLABS) * HK_SS_BYTES;

	if (seen == 0)
		return false;
	if (seen <= ARENA_BYTES + HK_SS_BYTES) {
		/* a small address space (valgrind): the arena is all of it, and begins above */
		set_base(HK_SS_BYTES);
		arena.next = (hk_unit)((seen - HK_SS_BYTES) >> HK_UNIT_SHIFT) + LOW_GAP_UNITS;
		return true;
	}
	if (seen <= ARENA_BYTES + gap + HK_SS_BYTES)
		gap = 0;
	set_base(seen - ARENA_BYTES - gap);
	return true;
}

/* With THP=always, the first word that is written would fault in 2 MiB of a table of which a small program
 * needs a page. The tables are neighbours; what lies between them may as well have small pages. */
static void keep_tables_small(void)
{
	uintptr_t map = (uintptr_t)hk_page_map, table = (uintptr_t)hk_ss_table;
	uintptr_t start = hk_align_up(hk_min(map, table), hk_os_page());
	uintptr_t end = hk_max(map + sizeof(hk_page_map), table + sizeof(hk_ss_table));

	hk_os_keep_small((void *)start, hk_align_down(end, hk_os_page()) - start);
}

static bool have_records(hk_unit first, uint32_t units)
{
	for (hk_unit ss = first / HK_SS_UNITS; ss <= (first + units - 1) / HK_SS_UNITS; ss++) {
		struct hk_superslab *records;

		if (hk_ss_of(ss * HK_SS_UNITS) != NULL)
			continue;
		records = hk_meta_alloc(sizeof(*records), alignof(struct hk_superslab));
		if (records == NULL)
			return false;
		atomic_store_explicit(&hk_ss_table[ss], records, memory_order_release);
	}
	return true;
}

void hk_arena_note_touched(hk_unit unit, size_t bytes)
{
	for (size_t n; bytes != 0; bytes -= n, unit++) {
		uint8_t *touched = &hk_ss_of(unit)->touched[unit % HK_SS_UNITS];

		n = hk_min(bytes, HK_UNIT_BYTES);
		*touched = (uint8_t)hk_max(*touched, hk_div_up(n, HK_GRAIN_BYTES));
	}
}

void hk_arena_note_untouched(hk_unit unit, uint32_t units)
{
	for (uint32_t i = 0; i < units; i++)
		hk_ss_of(unit + i)->touched[(unit + i) % HK_SS_UNITS] = 0;
}

void hk_arena_note_purged(hk_unit unit, size_t bytes)
{
	uint8_t *touched = &hk_ss_of(unit)->touched[unit % HK_SS_UNITS];
	size_t grains = bytes / HK_GRAIN_BYTES;

	*touched = (uint8_t)(*touched > grains ? *touched - grains : 1);
}

size_t hk_arena_pages(hk_unit unit, uint32_t units, size_t bytes)
{
	size_t sum = 0;

	for (uint32_t i = 0; i < units; i++) {
		size_t before = hk_ss_of(unit + i)->touched[(unit + i) % HK_SS_UNITS];
		size_t now = hk_min(bytes, HK_UNIT_BYTES);

		sum += hk_align_up(hk_max(before * HK_GRAIN_BYTES, now), hk_os_page());
		bytes -= now;
	}
	return sum;
}

static bool prefault(void *p, size_t bytes)
{
	switch ((enum hk_prefault)hk_option(HK_OPT_SS_PREFAULT)) {
	case HK_PREFAULT_OFF:
		break;
	case HK_PREFAULT_POPULATE:
		return hk_os_populate(p, bytes);
	case HK_PREFAULT_TOUCH:
		for (size_t i = 0; i < bytes; i += hk_os_page())
			((volatile char *)p)[i] = 0;
		return true;
	}
	return false;
}

/* Makes units of the mapping at `first`; unmaps it when their records can't be had. */
static bool adopt_mapping(hk_unit first, uint32_t units)
{
	size_t bytes = (size_t)units << HK_UNIT_SHIFT;

	if (!have_records(first, units)) {
		hk_os_unmap(hk_arena_address(first), bytes);
		return false;
	}
	hk_os_name(hk_arena_address(first), bytes, "hakmem: SuperSlabs");
	if (prefault(hk_arena_address(first), bytes))
		hk_arena_note_touched(first, bytes);
	for (uint32_t i = 0; i < units; i++)
		hk_page_set(first + i, hk_word_kind(HK_KIND_FREE, 0));
	for (uint32_t i = 0; i < units; i++)
		hk_ss_of(first + i)->used++;
	atomic_fetch_add_explicit(&arena.mapped, units, memory_order_relaxed);
	return true;
}

/* How many units to map at `next` for a request of `units`, at most `ahead` without need. */
static uint32_t step(hk_unit next, uint32_t units, uint32_t ahead)
{
	size_t grown = atomic_load_explicit(&arena.mapped, memory_order_relaxed) / 8;
	uint32_t want = (uint32_t)hk_max(units, hk_min(grown, ahead));
	hk_unit end;

	if (next < HK_SS_UNITS)
		end = (hk_unit)hk_align_up(next + want, FIRST_PIECE);
	else
		end = (hk_unit)hk_align_up(next + want, HK_SS_UNITS);
	return end - next;
}

/* Maps units at the arena's end. *taken: somebody else is there. */
static bool grow_at(hk_unit next, uint32_t units, bool *taken)
{
	size_t bytes = (size_t)units << HK_UNIT_SHIFT;

	*taken = true;
	if (next + units > HK_ARENA_UNITS)
		return false;
	if (hk_os_map_at(hk_arena_address(next), bytes, taken) == NULL)
		return false;
	if (!adopt_mapping(next, units))
		return false;
	arena.next = next + units;
	if (arena.next > hk_arena_end())
		atomic_store_explicit(&arena.end, arena.next, memory_order_relaxed);
	return true;
}

/* Steps over what is mapped already, behind a part that was unmapped. */
static hk_unit first_unmapped(hk_unit unit)
{
	while (unit < hk_arena_end() && hk_page_word(unit) != 0)
		unit = (hk_unit)hk_align_up(unit + 1, HK_SS_UNITS);
	return unit;
}

static bool grow_first(uint32_t units, uint32_t ahead, hk_unit *first, uint32_t *got)
{
	hk_unit next;

	if (hk_arena_base == 0) {
		if (!choose_base())
			return false;
		keep_tables_small();
	}
	next = arena.next;
	for (uint32_t skip = 1; skip <= MAX_SKIPS; skip++) {
		uint32_t want;
		bool taken;

		next = first_unmapped(next);
		want = step(next, units, ahead);
		if (grow_at(next, want, &taken) ||
		    (!taken && want > units && grow_at(next, want = units, &taken))) {
			*first = next;
			*got = want;
			return true;
		}
		if (!taken || next + units > HK_ARENA_UNITS)
			return false;
		next = (hk_unit)hk_align_up(next + 1, HK_SS_UNITS) + (skip - 1) * HK_SS_UNITS;
	}
	return false;
}

/* The number of the window around `address`, made when there is none yet. */
static bool find_window(uintptr_t address)
{
	uint32_t windows = hk_arena_windows();

	if (hk_arena_unit((void *)address) != HK_NO_UNIT)
		return true;
	if (windows == HK_WINDOWS)
		return false;
	arena.window[windows] = address >> HK_WINDOW_SHIFT;
	atomic_store_explicit(&arena.windows, windows + 1, memory_order_release);
	return true;
}

/* SuperSlab-aligned memory wherever the kernel likes. */
static char *map_anywhere(size_t bytes)
{
	char *raw = hk_os_map(bytes + HK_SS_BYTES);
	char *start = (char *)hk_align_up((uintptr_t)raw, HK_SS_BYTES);
	size_t before = (size_t)(start - raw);

	if (raw == NULL)
		return NULL;
	if (before != 0)
		hk_os_unmap(raw, before);
	if (before != HK_SS_BYTES)
		hk_os_unmap(start + bytes, HK_SS_BYTES - before);
	return start;
}

/* The units of a run are counted on, so it must lie within one window, or within the first arena. */
static bool is_one_run(const char *start, size_t bytes)
{
	const char *last = start + bytes - 1;

	return (uintptr_t)start >> HK_WINDOW_SHIFT == (uintptr_t)last >> HK_WINDOW_SHIFT &&
	       find_window((uintptr_t)start) &&
	       hk_arena_unit(start) + (bytes >> HK_UNIT_SHIFT) - 1 == hk_arena_unit(last);
}

/* Unmaps a range that can't be a run, but for an untouched page at the seam that it lies across: else
 * the kernel would name the same range again for ever. */
static bool block_seam(char *start, size_t bytes)
{
	char *seam = (char *)hk_align_up((uintptr_t)start, (uintptr_t)1 << HK_WINDOW_SHIFT);
	size_t page = hk_os_page(), before = (size_t)(seam - start);

	if (before == 0 || before >= bytes) {
		hk_os_unmap(start, bytes);
		return false;
	}
	hk_os_unmap(start, before);
	hk_os_unmap(seam + page, bytes - before - page);
	return true;
}

static bool grow_anywhere(uint32_t units, hk_unit *first, uint32_t *got)
{
	size_t bytes = hk_align_up((size_t)units << HK_UNIT_SHIFT, HK_SS_BYTES);

	for (uint32_t i = 0; i <= HK_WINDOWS; i++) {
		char *start = map_anywhere(bytes);

		if (start == NULL)
			return false;
		if (is_one_run(start, bytes)) {
			*first = hk_arena_unit(start);
			*got = (uint32_t)(bytes >> HK_UNIT_SHIFT);
			return adopt_mapping(*first, *got);
		}
		if (!block_seam(start, bytes))
			return false;
	}
	return false;
}

bool hk_arena_grow(uint32_t units, hk_unit *first, uint32_t *got)
{
	return grow_first(units, MAX_STEP, first, got) || grow_anywhere(units, first, got);
}

bool hk_arena_grow_huge(hk_unit *first)
{
	uint32_t got;

	if (atomic_load_explicit(&arena.huge_misses, memory_order_relaxed) >= HUGE_MISSES)
		return false;
	/* the first SuperSlab comes in pieces, and so may one for which memory was scarce */
	if (hk_arena_base == 0 || arena.next % HK_SS_UNITS != 0 ||
	    !grow_first(HK_SS_UNITS, 0, first, &got))
		return false;
	hk_assert(*first % HK_SS_UNITS == 0 && got == HK_SS_UNITS);
	hk_ss_of(*first)->dirty = ~0u;
	hk_arena_note_touched(*first, HK_SS_BYTES);
	return true;
}

void hk_arena_fault_huge(hk_unit unit)
{
	char *start = hk_arena_address(unit - unit % HK_SS_UNITS);
	uint64_t ns = hk_os_fault_huge(start, HK_SS_BYTES, hk_arena_address(unit));
	uint32_t misses = atomic_load_explicit(&arena.huge_misses, memory_order_relaxed);

	if (ns < HUGE_LEAST_NS || ns > HUGE_MOST_NS)
		misses++;
	else
		misses -= misses != 0;
	atomic_store_explicit(&arena.huge_misses, misses, memory_order_relaxed);
}

void hk_arena_unmap(hk_unit first, uint32_t units)
{
	hk_arena_note_untouched(first, units);
	for (uint32_t i = 0; i < units; i++) {
		struct hk_superslab *ss = hk_ss_of(first + i);

		hk_page_set(first + i, 0);
		ss->used--;
		ss->dirty &= ~(1u << (first + i) % HK_SS_UNITS);
		ss->lazy &= ~(1u << (first + i) % HK_SS_UNITS);
		ss->purged &= ~(1u << (first + i) % HK_SS_UNITS);
	}
	hk_os_unmap(hk_arena_address(first), (size_t)units << HK_UNIT_SHIFT);
	atomic_fetch_sub_explicit(&arena.mapped, units, memory_order_relaxed);
	if (first < arena.next)
		arena.next = first;
}

/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_SUPERSLAB_MARKS_H
#define HK_SUPERSLAB_MARKS_H
/* BOX marks - what the pool knows of each free unit: bits in the masks of its SuperSlab.
 * Owns:       dirty, lazy, purged, purged_at and used of struct hk_superslab, for pool.c alone.
 * Invariants: none of its own; the pool's PO2 and the arena's AR3 are about these bits.
 * Threads:    under the pool's lock.
 * Locks:      none of its own.
 * Fails:      never.
 *
 * Units are given as so many in a row, which may lie in several SuperSlabs. */
#include "os/os.h"
#include "superslab/arena.h"

HK_INLINE uint32_t hk_units_mask_of(hk_unit unit, uint32_t units)
{
	return (units == HK_SS_UNITS ? ~0u : (1u << units) - 1) << unit % HK_SS_UNITS;
}

/* Units of [unit, end) that share a SuperSlab with `unit`. */
HK_INLINE uint32_t hk_units_in_one_superslab(hk_unit unit, hk_unit end)
{
	return (uint32_t)hk_min(end - unit, HK_SS_UNITS - unit % HK_SS_UNITS);
}

HK_INLINE uint32_t hk_units_count_dirty(hk_unit unit, uint32_t units)
{
	uint32_t count = 0, n;

	for (hk_unit u = unit, end = unit + units; u < end; u += n) {
		n = hk_units_in_one_superslab(u, end);
		count += (uint32_t)__builtin_popcount(hk_ss_of(u)->dirty & hk_units_mask_of(u, n));
	}
	return count;
}

/* All units of it are known to be zero. */
HK_INLINE bool hk_units_is_zero(hk_unit unit, uint32_t units)
{
	uint32_t n;

	for (hk_unit u = unit, end = unit + units; u < end; u += n) {
		n = hk_units_in_one_superslab(u, end);
		if (((hk_ss_of(u)->dirty | hk_ss_of(u)->lazy) & hk_units_mask_of(u, n)) != 0)
			return false;
	}
	return true;
}

HK_INLINE void hk_units_mark_dirty(hk_unit unit, uint32_t units)
{
	uint32_t n;

	for (hk_unit u = unit; u < unit + units; u++) {
		if (hk_arena_pages(u, 1, 0) == 0)
			hk_arena_note_touched(u, HK_UNIT_BYTES);
	}
	for (hk_unit u = unit, end = unit + units; u < end; u += n) {
		n = hk_units_in_one_superslab(u, end);
		hk_ss_of(u)->dirty |= hk_units_mask_of(u, n);
		hk_ss_of(u)->lazy &= ~hk_units_mask_of(u, n);
		hk_ss_of(u)->purged &= ~hk_units_mask_of(u, n);
	}
}

HK_INLINE void hk_units_mark_purged(hk_unit unit, uint32_t units, bool lazily)
{
	uint64_t now = hk_os_now_ns();
	uint32_t n;

	for (hk_unit u = unit, end = unit + units; u < end; u += n) {
		n = hk_units_in_one_superslab(u, end);
		hk_ss_of(u)->dirty &= ~hk_units_mask_of(u, n);
		hk_ss_of(u)->lazy &= ~hk_units_mask_of(u, n);
		if (lazily)
			hk_ss_of(u)->lazy |= hk_units_mask_of(u, n);
		hk_ss_of(u)->purged |= hk_units_mask_of(u, n);
		hk_ss_of(u)->purged_at = now;
	}
	if (!lazily)
		hk_arena_note_untouched(unit, units);
}

HK_INLINE void hk_units_count_used(hk_unit unit, uint32_t units, bool taken)
{
	uint32_t n;

	for (hk_unit u = unit, end = unit + units; u < end; u += n) {
		n = hk_units_in_one_superslab(u, end);
		hk_ss_of(u)->used += taken ? n : -n;
	}
}

#endif

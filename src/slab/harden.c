/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "slab/harden.h"

#include <string.h>

#include "os/os.h"

/* Above this, a range is cleared page by page. */
#define CLEAR_WHOLE (16 * HK_KiB)
#define CLEAR_PART  (4 * HK_KiB)

static _Atomic uint64_t secret; /* 0: not made yet */

void hk_harden_init(void)
{
	uint64_t none = 0;

	if (atomic_load_explicit(&secret, memory_order_relaxed) == 0)
		atomic_compare_exchange_strong_explicit(&secret, &none, hk_os_random() | 1,
							memory_order_relaxed, memory_order_relaxed);
}

static uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint64_t hk_harden_random(uint64_t *state) { return mix(*state += 0x9e3779b97f4a7c15u); }

static uint64_t canary_of(const void *p)
{
	return mix(atomic_load_explicit(&secret, memory_order_relaxed) ^ (uintptr_t)p) | 1;
}

void hk_harden_mark(void *p, size_t usable)
{
	uint64_t canary = canary_of(p);

	memcpy((char *)p + usable, &canary, sizeof(canary));
}

void hk_harden_verify(const void *p, size_t usable, struct hk_offence where)
{
	uint64_t found;

	memcpy(&found, (const char *)p + usable, sizeof(found));
	if (HK_UNLIKELY(found != canary_of(p)))
		hk_die(where, "overflow behind block %p (%zu bytes)", p, usable);
}

static size_t guard_bytes(void) { return hk_os_has_guards() ? hk_os_page() : 0; }

size_t hk_harden_tail(void) { return HK_CANARY_BYTES + guard_bytes(); }

void hk_harden_seal(void *p, size_t bytes)
{
	size_t guard = guard_bytes();

	hk_harden_mark(p, bytes - guard - HK_CANARY_BYTES);
	if (guard != 0) /* refused, as for locked memory on some kernels: the canary is left */
		hk_os_guard((char *)p + bytes - guard, guard);
}

void hk_harden_unseal(void *p, size_t bytes)
{
	size_t guard = guard_bytes();

	if (guard != 0)
		hk_os_unguard((char *)p + bytes - guard, guard);
	memset((char *)p + bytes - guard - HK_CANARY_BYTES, 0, HK_CANARY_BYTES);
}

bool hk_harden_is_zero(const void *p, size_t bytes)
{
	uint64_t first;

	memcpy(&first, p, sizeof(first));
	return first == 0 && memcmp(p, (const char *)p + sizeof(first), bytes - sizeof(first)) == 0;
}

void hk_harden_clear(void *p, size_t bytes)
{
	char *at = p, *end = at + bytes;

	if (bytes <= CLEAR_WHOLE) {
		memset(p, 0, bytes);
		return;
	}
	while (at < end) {
		size_t part =
			hk_min((size_t)(end - at), CLEAR_PART - ((uintptr_t)at & (CLEAR_PART - 1)));

		if (!hk_harden_is_zero(at, part))
			memset(at, 0, part);
		at += part;
	}
}

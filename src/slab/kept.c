/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "slab/kept.h"

#include "base/options.h"
#include "os/os.h"
#include "slab/harden.h"
#include "superslab/release.h"

/* A cached range serves requests that waste at most a quarter of what they ask for. */
#define FITS(have, want) ((have) >= (want) && (have) - (want) <= (want) / 4)

static struct {
	uintptr_t address[HK_HUGE_RANGES];
	uint32_t count;
	size_t bytes;
	uint32_t refaults; /* takes in a row of ranges that were purged a moment ago */
} kept;

static struct hk_huge *entry(uint32_t i) { return hk_registry_find((void *)kept.address[i]); }

bool hk_kept_has_room(const struct hk_huge *e)
{
	return kept.count < HK_HUGE_RANGES && kept.bytes + e->bytes <= hk_option(HK_OPT_HUGE_KEEP);
}

bool hk_kept_has(const struct hk_huge *e)
{
	for (uint32_t i = 0; i < kept.count; i++) {
		if (kept.address[i] == e->address)
			return true;
	}
	return false;
}

void hk_kept_add(const struct hk_huge *e)
{
	kept.address[kept.count++] = e->address;
	kept.bytes += e->bytes;
}

void hk_kept_remove(const struct hk_huge *e)
{
	uint32_t i = 0;

	while (kept.address[i] != e->address)
		i++;
	kept.address[i] = kept.address[--kept.count];
	kept.bytes -= e->bytes;
}

struct hk_huge *hk_kept_find(size_t bytes, size_t align)
{
	struct hk_huge *best = NULL;

	for (uint32_t i = 0; i < kept.count; i++) {
		struct hk_huge *e = entry(i);

		if (e->state == HK_HUGE_CACHED && !e->hardened && FITS(e->bytes, bytes) &&
		    (e->address & (align - 1)) == 0 && (best == NULL || e->bytes < best->bytes))
			best = e;
	}
	return best;
}

struct hk_huge *hk_kept_first(void)
{
	for (uint32_t i = 0; i < kept.count; i++) {
		if (entry(i)->state == HK_HUGE_CACHED)
			return entry(i);
	}
	return NULL;
}

struct hk_huge *hk_kept_dirty(uint64_t until)
{
	for (uint32_t i = 0; i < kept.count; i++) {
		struct hk_huge *e = entry(i);

		if (e->state == HK_HUGE_CACHED && e->dirty && e->since <= until)
			return e;
	}
	return NULL;
}

struct hk_huge *hk_kept_draw(void)
{
	uint64_t random = hk_os_random();
	struct hk_huge *drawn = NULL;
	uint32_t seen = 0;

	for (uint32_t i = 0; i < kept.count; i++) {
		struct hk_huge *e = entry(i);

		if (e->state == HK_HUGE_CACHED && e->hardened &&
		    hk_harden_random(&random) % ++seen == 0)
			drawn = e;
	}
	return drawn;
}

void hk_kept_note_refault(const struct hk_huge *e)
{
	uint32_t units = (uint32_t)(e->bytes >> HK_UNIT_SHIFT);

	hk_release_note_refault(units, units, e->since, &kept.refaults);
}

/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "superslab/meta.h"

#include "os/lock.h"

/* The first chunk is zero-fill memory of the library: start-up maps nothing for metadata. */
#define FIRST_BYTES (64 * HK_KiB)
#define CHUNK_BYTES (256 * HK_KiB)

/* Not on a page of its own: that would move all zero-fill memory off the last page of initialised data. */
static alignas(64) unsigned char first_chunk[FIRST_BYTES];

static alignas(64) struct {
	struct hk_lock lock;
	unsigned char *next, *end; /* [lock META] */
	_Atomic size_t bytes;
} meta = { .lock = HK_LOCK_INIT(HK_RANK_META),
	   .next = first_chunk,
	   .end = first_chunk + FIRST_BYTES };

static bool add_chunk(size_t bytes)
{
	size_t size = hk_align_up(hk_max(bytes, CHUNK_BYTES), hk_os_page());
	unsigned char *chunk = hk_os_map(size);

	if (chunk == NULL) { /* memory is short: no more than what is asked for */
		size = hk_align_up(bytes, hk_os_page());
		chunk = hk_os_map(size);
	}
	if (chunk == NULL)
		return false;
	hk_os_name(chunk, size, "hakmem: records");
	meta.next = chunk;
	meta.end = chunk + size;
	return true;
}

static unsigned char *align_next(size_t align)
{
	return meta.next + (-(uintptr_t)meta.next & (align - 1));
}

void *hk_meta_alloc(size_t bytes, size_t align)
{
	unsigned char *p;

	hk_lock_take(&meta.lock);
	p = align_next(align);
	if (p + bytes > meta.end && !add_chunk(bytes)) {
		hk_lock_drop(&meta.lock);
		return NULL;
	}
	p = align_next(align);
	meta.next = p + bytes;
	hk_lock_drop(&meta.lock);
	atomic_fetch_add_explicit(&meta.bytes, bytes, memory_order_relaxed);
	return p;
}

size_t hk_meta_bytes(void) { return atomic_load_explicit(&meta.bytes, memory_order_relaxed); }

void hk_meta_lock(void) { hk_lock_take(&meta.lock); }
void hk_meta_unlock(void) { hk_lock_drop(&meta.lock); }
void hk_meta_reset(void) { hk_lock_reset(&meta.lock); }

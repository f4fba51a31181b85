/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_SLAB_CLASS_H
#define HK_SLAB_CLASS_H
/* BOX class - the one place where a size becomes a class.
 * Owns:       the size classes: 16-byte steps to 1 KiB, then four a doubling to 256 KiB; and up to 8 KiB
 *             one more, an eighth above each power of two, for the programs that put a header before a
 *             page (docs/experiments/0008).
 * Invariants: C1 size(bin - 1) < n <= size(bin) for bin = hk_class_bin(n)
 *             C2 every size is a multiple of 16, every power of two is a size
 * Threads:    constants.
 * Locks:      none.
 * Fails:      never; callers check n <= HK_CLASS_MAX.
 *
 * A class is named by its bin, 1 … HK_BINS - 1; bin 0 is no class. */
#include "base/base.h"
#include "base/config.h"

#define HK_TINY_BINS ((unsigned)(HK_TINY_MAX / HK_BLOCK_ALIGN))
#define HK_BINS      100u

static_assert(HK_TINY_BINS == 64, "docs say 64 tiny classes");
static_assert(HK_TINY_BINS + 3 * 5 + 5 * 4 + 1 == HK_BINS, "three doublings to 8 KiB, five to 256");

struct hk_class {
	uint32_t size;     /* bytes of a block */
	uint32_t inverse;  /* ceil(2^31 / (size / 16)): hk_class_index by a multiplication */
	uint16_t capacity; /* blocks of a slab */
	uint8_t units;     /* of a slab */
};

extern const struct hk_class hk_classes[HK_BINS];

/* The smallest class that holds n bytes; 1 <= n <= HK_CLASS_MAX. */
HK_INLINE unsigned hk_class_bin(size_t n)
{
	unsigned shift, eighth;

	if (n <= HK_TINY_MAX)
		return (unsigned)((n + HK_BLOCK_ALIGN - 1) / HK_BLOCK_ALIGN);
	shift = hk_log2(n - 1); /* 10 … 17 */
	if (shift >= 13)
		return HK_TINY_BINS + 12 + (shift - 13) * 4 + (unsigned)((n - 1) >> (shift - 2));
	eighth = (unsigned)((n - 1) >> (shift - 3)); /* 8 … 15: n is at most one more */
	return HK_TINY_BINS + 1 + (shift - 10) * 5 + (eighth - 6) / 2 - (eighth < 9);
}

HK_INLINE size_t hk_class_size(unsigned bin) { return hk_classes[bin].size; }

/* The smallest class that holds n bytes and whose size is a multiple of `alignment` (a power of two
 * up to a unit), or 0 when there is none. */
unsigned hk_class_bin_aligned(size_t n, size_t alignment);

/* Which block of its slab the byte at `offset` is in; offset < 1 MiB. */
HK_INLINE uint32_t hk_class_index(unsigned bin, uint32_t offset)
{
	/* in grains of 16 bytes, of which every size is a multiple: exact for all offsets */
	return (uint32_t)((uint64_t)(offset / HK_BLOCK_ALIGN) * hk_classes[bin].inverse >> 31);
}
/* How far inside its block that byte is; SIZE_MAX: behind the last block. */
HK_INLINE size_t hk_class_inside(unsigned bin, uint32_t offset)
{
	uint32_t index = hk_class_index(bin, offset);

	if (HK_UNLIKELY(index >= hk_classes[bin].capacity))
		return SIZE_MAX;
	return offset - index * hk_classes[bin].size;
}

#endif

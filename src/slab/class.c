/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "slab/class.h"

#include "slab/block.h"

const struct hk_block hk_end = { (struct hk_block *)(uintptr_t)&hk_end, 0 };

#define CLASS(bytes, slab_units)                                                                   \
	{                                                                                          \
		.size = (bytes),                                                                   \
		.inverse = (uint32_t)(((1ull << 31) + (bytes) / 16 - 1) / ((bytes) / 16)),         \
		.capacity = (uint16_t)((slab_units)*HK_UNIT_BYTES / (bytes)),                      \
		.units = (slab_units),                                                             \
	}

#define TINY(i)   CLASS((i)*16u, 1)
#define TINY4(i)  TINY(i), TINY((i) + 1), TINY((i) + 2), TINY((i) + 3)
#define TINY16(i) TINY4(i), TINY4((i) + 4), TINY4((i) + 8), TINY4((i) + 12)
/* The classes above `base` bytes: as many units as give eight blocks, at most 1 MiB. */
#define DOUBLING(base, units)                                                                      \
	CLASS((base) / 4 * 5u, units), CLASS((base) / 4 * 6u, units),                              \
		CLASS((base) / 4 * 7u, units), CLASS((base)*2u, units)
#define DOUBLING5(base) CLASS((base) / 8 * 9u, 1), DOUBLING(base, 1)

const struct hk_class hk_classes[HK_BINS] = {
	[1] = TINY16(1),    TINY16(17),         TINY16(33),          TINY16(49),
	DOUBLING5(1024),    DOUBLING5(2048),    DOUBLING5(4096),     DOUBLING(8192, 2),
	DOUBLING(16384, 4), DOUBLING(32768, 8), DOUBLING(65536, 16), DOUBLING(131072, 16),
};

unsigned hk_class_bin_aligned(size_t n, size_t alignment)
{
	unsigned bin;

	if (n < alignment)
		n = alignment; /* no smaller size is a multiple */
	if (n > HK_CLASS_MAX || alignment > HK_UNIT_BYTES)
		return 0;
	for (bin = hk_class_bin(n); bin < HK_BINS; bin++) {
		if (hk_classes[bin].size % alignment == 0)
			return bin;
	}
	return 0;
}

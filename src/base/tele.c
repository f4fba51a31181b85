/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "base/tele.h"

/* Arrays, not pointers: a pointer would be a relocation at every start of a program. */
static const char names[][24] = {
#define HK_TELE_ROW(box, name, level, unit, meaning) #box "." #name,
#include "base/tele.def"
#undef HK_TELE_ROW
};
static const char meanings[][48] = {
#define HK_TELE_ROW(box, name, level, unit, meaning) meaning,
#include "base/tele.def"
#undef HK_TELE_ROW
};
#define HK_TELE_ROW(box, name, level, unit, meaning)                                               \
	static_assert(sizeof(#box "." #name) <= sizeof(names[0]), "name cut: " #name);             \
	static_assert(sizeof(meaning) <= sizeof(meanings[0]), "meaning cut: " #name);
#include "base/tele.def"
#undef HK_TELE_ROW

const char *hk_tele_name(enum hk_tele_row row) { return names[row]; }

const char *hk_tele_meaning(enum hk_tele_row row) { return meanings[row]; }

#if HK_TELE_LEVEL > 0

#define BLOCKS 64

static struct {
	alignas(64) struct hk_tele tele;
} blocks[BLOCKS + 1]; /* the last one is shared */
static _Atomic uint64_t free_blocks = UINT64_MAX;
static _Thread_local struct hk_tele *mine;

static_assert(BLOCKS == 64, "free_blocks has a bit for each");

static struct hk_tele *claim_block(void)
{
	uint64_t set = atomic_load_explicit(&free_blocks, memory_order_relaxed);

	while (set != 0) {
		/* acquire: the counts that the block's last owner left */
		if (atomic_compare_exchange_weak_explicit(&free_blocks, &set, set & (set - 1),
							  memory_order_acquire,
							  memory_order_relaxed))
			return &blocks[__builtin_ctzll(set)].tele;
	}
	return &blocks[BLOCKS].tele;
}

struct hk_tele *hk_tele_here(void)
{
	if (HK_UNLIKELY(!mine))
		mine = claim_block();
	return mine;
}

void hk_tele_leave(void)
{
	uint64_t index;

	if (mine && mine != &blocks[BLOCKS].tele) {
		index = (uint64_t)HK_CONTAINER_OF(mine, typeof(blocks[0]), tele) - (uint64_t)blocks;
		atomic_fetch_or_explicit(&free_blocks, 1ull << index / sizeof(blocks[0]),
					 memory_order_release);
	}
	mine = &blocks[BLOCKS].tele; /* for what the thread still does at its end */
}

uint64_t hk_tele_sum(enum hk_tele_row row)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < HK_COUNT_OF(blocks); i++)
		sum += atomic_load_explicit(&blocks[i].tele.count[row], memory_order_relaxed);
	return sum;
}

#else

void hk_tele_leave(void) {}

uint64_t hk_tele_sum(enum hk_tele_row row HK_UNUSED) { return 0; }

#endif

/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "retain_blocks.h"

#include <hakmem/hakmem.h>
#include <string.h>
#include <time.h>

#pragma weak hak_stats_get /* NULL unless hakmem is the allocator */

enum { FILLED = 0xa5 }; /* every byte behind a block's size */

struct retain retain;

/* ---- Blocks: each knows its size -------------------------------------------------------------- */

static void count_live(size_t size)
{
	uint64_t now = atomic_fetch_add(&retain.live, size) + size;
	uint64_t most = atomic_load(&retain.live_most);

	while (now > most && !atomic_compare_exchange_weak(&retain.live_most, &most, now)) {
	}
	atomic_fetch_add_explicit(&retain.blocks, 1, memory_order_relaxed);
}

unsigned char *retain_take(size_t size)
{
	unsigned char *block = malloc(size);

	if (!block)
		bench_no_memory(size);
	memset(block, FILLED, size);
	memcpy(block, &size, sizeof(size));
	count_live(size);
	return block;
}

size_t retain_size_of(const unsigned char *block)
{
	size_t size;

	memcpy(&size, block, sizeof(size));
	return size;
}

void retain_give(unsigned char *block)
{
	size_t size = retain_size_of(block);

	if (size < RETAIN_SIZE_LEAST || block[size - 1] != FILLED)
		bench_damaged(block, FILLED);
	atomic_fetch_sub(&retain.live, size);
	free(block);
}

void *retain_table(uint64_t count)
{
	void *p = bench_map(count * sizeof(void *));

	return memset(p, 0, count * sizeof(void *));
}

/* ---- Moments ---------------------------------------------------------------------------------- */

uint64_t retain_calls(void)
{
	struct hak_stats stats;

	if (!hak_stats_get)
		return 0;
	hak_stats_get(&stats);
	return stats.system_calls;
}

void retain_before_blocks(void) { retain.own_kib = bench_status_kib("VmRSS:"); }

void retain_before_frees(void) { retain.calls = retain_calls(); }

void retain_idle(uint64_t seconds)
{
	struct timespec left = { .tv_sec = (time_t)seconds };

	retain.freed_kib = bench_status_kib("VmRSS:");
	while (nanosleep(&left, &left) != 0) {
	}
}

struct mix retain_mix(uint64_t bytes, uint64_t least, uint64_t most)
{
	uint64_t places = bytes / ((least + most) / 2) * 2 + 1024;

	return (struct mix){ retain_table(places), 0, places };
}

struct sizes retain_sizes(uint64_t least, uint64_t most, uint64_t seed, uint64_t stream)
{
	if (most < least)
		bench_usage_error("MAX is less than MIN");
	return (struct sizes){ bench_seed(seed, stream), least, most - least + 1 };
}

size_t retain_next_size(struct sizes *s)
{
	return s->least + bench_high(bench_next(&s->rng), s->span);
}

void retain_add(struct mix *m, size_t size)
{
	if (m->count == m->places)
		bench_usage_error("so many small blocks do not fit the table");
	m->block[m->count++] = retain_take(size);
}

bool retain_is_hakmem(void) { return hak_stats_get != NULL; }

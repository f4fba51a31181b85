/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Double frees, writes after free, and what they make of lists of free blocks. */
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "door.h"
#include "misuse.h"

#define TWICE 3 /* exit status: a block was handed out while it was live */

#define MOST 20000

static size_t enough(size_t size)
{
	size_t count = 8 * T_MiB / size;

	return count > 3000 ? 3000 : count < 6 ? 6 : count;
}

void mistake_turn_over(size_t size)
{
	static void *got[MOST];
	size_t count = 2 * enough(size) + 40;

	for (unsigned round = 0; round < 2; round++) {
		for (size_t i = 0; i < count; i++) {
			got[i] = mistake_malloc(size);
			t_need(got[i] != NULL);
		}
		for (size_t i = 0; i < count && round == 0; i++)
			mistake_free(got[i]);
	}
}

/* Allocates until hakmem notices, or until it is clear that it never will. The blocks are written to,
 * as a program would, and none may come twice. A quarantine keeps the block back: so then they are
 * freed, and more allocated. */
static void allocate_on(size_t size, size_t count)
{
	static void *got[MOST];

	if (count > MOST)
		count = MOST;
	for (size_t i = 0; i < count; i++) {
		got[i] = mistake_malloc(size);
		t_need(got[i] != NULL);
		memset(got[i], 0x5a, size < 64 ? size : 64);
		for (size_t j = 0; j < i; j++)
			if (got[j] == got[i])
				_exit(TWICE);
	}
	for (size_t i = 0; i < count; i++)
		mistake_free(got[i]);
	mistake_turn_over(size);
}

/* ---- Twice by the same thread ---- */

static void double_free(size_t size)
{
	void *p = T_MALLOC(size);

	t_need(p != NULL);
	mistake_free(p);
	mistake_free(p);
	allocate_on(size, enough(size));
}

static void double_free_aba(size_t size)
{
	void *a = T_MALLOC(size), *b = T_MALLOC(size);

	t_need(a != NULL && b != NULL);
	mistake_free(a);
	mistake_free(b);
	mistake_free(a);
	allocate_on(size, enough(size));
}

/* Far apart: the first copy has left the bin when the second comes. */
static void double_free_far(size_t size)
{
	size_t count;
	void **p = mistake_allocate_many(size, MISTAKE_MANY, &count);

	for (size_t i = 0; i < count; i++)
		mistake_free(p[i]);
	mistake_free(p[0]);
	allocate_on(size, count < 20000 ? count : 20000);
}

/* A pointer from long ago: its slab, or its mapping, has gone back to the system. */
static void stale(size_t size)
{
	size_t count;
	void **p = mistake_allocate_many(size, 300, &count);

	for (size_t i = 0; i < count; i++)
		mistake_free(p[i]);
	T_TRIM();
	mistake_free(p[count / 2]);
}

static void stale_64(void) { stale(64); }
static void stale_1k(void) { stale(1024); }
static void stale_20k(void) { stale(20000); }
static void stale_100k(void) { stale(100000); }
static void stale_span(void) { stale(8 * T_MiB); }
static void stale_huge(void) { stale(64 * T_MiB); }
static void twice_64(void) { double_free(64); }
static void twice_1k(void) { double_free(1024); }
static void twice_20k(void) { double_free(20000); }
static void twice_100k(void) { double_free(100000); }
static void twice_span(void) { double_free(8 * T_MiB); }
static void twice_huge(void) { double_free(64 * T_MiB); }
static void aba_64(void) { double_free_aba(64); }
static void aba_1k(void) { double_free_aba(1024); }
static void aba_20k(void) { double_free_aba(20000); }
static void aba_100k(void) { double_free_aba(100000); }
static void aba_span(void) { double_free_aba(8 * T_MiB); }
static void aba_huge(void) { double_free_aba(64 * T_MiB); }
static void far_64(void) { double_free_far(64); }
static void far_1k(void) { double_free_far(1024); }
static void far_20k(void) { double_free_far(20000); }

/* ---- By another thread ---- */

struct pair {
	void *a, *b;
};

/* A thread that is there before the first free: what its creation allocates must not get the block. */
static _Atomic(void *) to_free;

static void *free_when_told(void *arg)
{
	while (atomic_load(&to_free) == NULL)
		sched_yield();
	mistake_free(atomic_load(&to_free));
	return arg;
}

static void *free_it(void *arg)
{
	mistake_free(arg);
	return NULL;
}

static void *free_it_twice(void *arg)
{
	mistake_free(arg);
	mistake_free(arg);
	return NULL;
}

static void *free_aba(void *arg)
{
	struct pair *pair = arg;

	mistake_free(pair->a);
	mistake_free(pair->b);
	mistake_free(pair->a);
	return NULL;
}

static void other_twice(size_t size)
{
	void *p = T_MALLOC(size);

	t_need(p != NULL);
	t_join(t_thread(free_it_twice, p));
	allocate_on(size, enough(size));
}

static void other_aba(size_t size)
{
	struct pair pair = { T_MALLOC(size), T_MALLOC(size) };

	t_need(pair.a != NULL && pair.b != NULL);
	t_join(t_thread(free_aba, &pair));
	allocate_on(size, enough(size));
}

/* Once here, then once there; and the other way round. */
static void here_and_there(size_t size)
{
	pthread_t other = t_thread(free_when_told, NULL);
	void *p = T_MALLOC(size);

	t_need(p != NULL);
	mistake_free(p);
	atomic_store(&to_free, p);
	t_join(other);
	allocate_on(size, enough(size));
}

static void there_and_here(size_t size)
{
	void *p = T_MALLOC(size);

	t_need(p != NULL);
	t_join(t_thread(free_it, p));
	mistake_free(p);
	allocate_on(size, enough(size));
}

static void two_others(size_t size)
{
	pthread_t other = t_thread(free_when_told, NULL);
	void *p = T_MALLOC(size);

	t_need(p != NULL);
	t_join(t_thread(free_it, p));
	atomic_store(&to_free, p);
	t_join(other);
	allocate_on(size, enough(size));
}

#define BY_OTHERS(name, size)                                                                      \
	static void other_twice_##name(void) { other_twice(size); }                                \
	static void other_aba_##name(void) { other_aba(size); }                                    \
	static void here_there_##name(void) { here_and_there(size); }                              \
	static void there_here_##name(void) { there_and_here(size); }                              \
	static void two_others_##name(void) { two_others(size); }

BY_OTHERS(64, 64)
BY_OTHERS(1k, 1024)
BY_OTHERS(20k, 20000)
BY_OTHERS(100k, 100000)
BY_OTHERS(span, 8 * T_MiB)
BY_OTHERS(huge, 64 * T_MiB)

#define BY_OTHERS_CASES(name)                                                                      \
	T_CASE(other_twice_##name), T_CASE(other_aba_##name), T_CASE(here_there_##name),           \
		T_CASE(there_here_##name), T_CASE(two_others_##name)

/* ---- Writes after free ---- */

static void write_after_free(size_t size, size_t from, size_t bytes)
{
	char *p = T_MALLOC(size);

	t_need(p != NULL);
	mistake_free(p);
	memset(t_launder(p + from), 0x41, bytes);
	allocate_on(size, enough(size));
}

/* Into a block that lies in its slab's list, not in the bin. */
static void write_after_flush(size_t size, size_t from, size_t bytes)
{
	enum { N = 20000 };
	static char *p[N];

	for (size_t i = 0; i < N; i++) {
		p[i] = T_MALLOC(size);
		t_need(p[i] != NULL);
	}
	/* Every other one, so that the slabs stay. */
	for (size_t i = 0; i < N; i += 2)
		mistake_free(p[i]);
	memset(t_launder(p[N / 4] + from), 0x41, bytes);
	allocate_on(size, N);
}

static void write_64_whole(void) { write_after_free(64, 0, 64); }
static void write_64_second_word(void) { write_after_free(64, 8, 8); }
static void write_64_one_byte(void) { write_after_free(64, 8, 1); }
static void write_16_whole(void) { write_after_free(16, 0, 16); }
static void write_1k_whole(void) { write_after_free(1024, 0, 1024); }
static void write_20k_whole(void) { write_after_free(20000, 0, 20000); }
static void write_20k_second_word(void) { write_after_free(20000, 8, 8); }
static void write_flushed_64_whole(void) { write_after_flush(64, 0, 64); }
static void write_flushed_64_second_word(void) { write_after_flush(64, 8, 8); }
static void write_flushed_1k_whole(void) { write_after_flush(1024, 0, 1024); }

/* ---- Overflow into a free neighbour ---- */

static void overflow(size_t size)
{
	enum { N = 400 };
	static char *p[N];

	for (size_t i = 0; i < N; i++) {
		p[i] = T_MALLOC(size);
		t_need(p[i] != NULL);
	}
	for (size_t i = 0; i < N; i++)
		for (size_t j = 0; j < N; j++) {
			size_t apart = (size_t)(p[j] - p[i]), n = T_USABLE(p[i]);

			if (apart != n && apart != n + 8) /* a canary between them */
				continue;
			mistake_free(p[j]);
			memset(t_launder(p[i]), 0x42, apart + 16);
			allocate_on(size, enough(size));
			return;
		}
	_exit(4); /* no two blocks are neighbours: the test says nothing */
}

static void overflow_64(void) { overflow(64); }
static void overflow_1k(void) { overflow(1024); }
static void overflow_4k(void) { overflow(4096); }

const struct t_case misuse_list_cases[] = {
	T_CASE(twice_64),
	T_CASE(twice_1k),
	T_CASE(twice_20k),
	T_CASE(twice_100k),
	T_CASE(twice_span),
	T_CASE(twice_huge),
	T_CASE(aba_64),
	T_CASE(aba_1k),
	T_CASE(aba_20k),
	T_CASE(aba_100k),
	T_CASE(aba_span),
	T_CASE(aba_huge),
	T_CASE(stale_64),
	T_CASE(stale_1k),
	T_CASE(stale_20k),
	T_CASE(stale_100k),
	T_CASE(stale_span),
	T_CASE(stale_huge),
	T_CASE(far_64),
	T_CASE(far_1k),
	T_CASE(far_20k),
	BY_OTHERS_CASES(64),
	BY_OTHERS_CASES(1k),
	BY_OTHERS_CASES(20k),
	BY_OTHERS_CASES(100k),
	BY_OTHERS_CASES(span),
	BY_OTHERS_CASES(huge),
	T_CASE(write_64_whole),
	T_CASE(write_64_second_word),
	T_CASE(write_64_one_byte),
	T_CASE(write_16_whole),
	T_CASE(write_1k_whole),
	T_CASE(write_20k_whole),
	T_CASE(write_20k_second_word),
	T_CASE(write_flushed_64_whole),
	T_CASE(write_flushed_64_second_word),
	T_CASE(write_flushed_1k_whole),
	T_CASE(overflow_64),
	T_CASE(overflow_1k),
	T_CASE(overflow_4k),
};
const size_t misuse_list_count = T_COUNT(misuse_list_cases);

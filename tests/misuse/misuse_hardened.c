/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* What only the profile hardened notices, or notices at once: run with HAKMEM_PROFILE=hardened. */
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "door.h"
#include "misuse.h"

#define LARGE (8 * T_MiB)
#define HUGE  (64 * T_MiB)

static char *block(size_t size)
{
	char *p = T_MALLOC(size);

	t_need(p != NULL);
	return p;
}

/* ---- One byte behind the usable ones ---- */

/* Whatever the byte was, it is another one now. */
static void damage_behind(char *p)
{
	char *end = t_launder(p + T_USABLE(p));

	*end = (char)~*end;
}

static void *free_it(void *arg)
{
	mistake_free(arg);
	return NULL;
}

#define BEHIND(name, size)                                                                         \
	static void hard_behind_##name(void)                                                       \
	{                                                                                          \
		char *p = block(size);                                                             \
                                                                                                   \
		damage_behind(p);                                                                  \
		mistake_free(p);                                                                   \
	}                                                                                          \
	static void hard_nul_##name(void)                                                          \
	{                                                                                          \
		char *p = block(size);                                                             \
                                                                                                   \
		*(char *)t_launder(p + T_USABLE(p)) = '\0';                                        \
		mistake_free(p);                                                                   \
	}                                                                                          \
	static void hard_behind_other_##name(void)                                                 \
	{                                                                                          \
		char *p = block(size);                                                             \
                                                                                                   \
		damage_behind(p);                                                                  \
		t_join(t_thread(free_it, p));                                                      \
	}                                                                                          \
	static void hard_behind_realloc_##name(void)                                               \
	{                                                                                          \
		char *p = block(size);                                                             \
                                                                                                   \
		damage_behind(p);                                                                  \
		mistake_realloc(p, (size)-1);                                                      \
	}

BEHIND(1, 1)
BEHIND(16, 16)
BEHIND(64, 64)
BEHIND(1k, 1024)
BEHIND(20k, 20000)
BEHIND(100k, 100000)
BEHIND(256k, 256 * T_KiB)
BEHIND(span, LARGE)
BEHIND(huge, HUGE)

#define BEHIND_CASES(name)                                                                         \
	T_CASE(hard_behind_##name), T_CASE(hard_nul_##name), T_CASE(hard_behind_other_##name),     \
		T_CASE(hard_behind_realloc_##name)

static void hard_behind_calloc(void)
{
	char *p = T_CALLOC(10, 500);

	t_need(p != NULL);
	damage_behind(p);
	mistake_free(p);
}

static void hard_behind_aligned(void)
{
	char *p = T_ALIGNED_ALLOC(4096, 4096);

	t_need(p != NULL && t_aligned(p, 4096));
	damage_behind(p);
	mistake_free(p);
}

/* Grown in place: the canary is at the new end. */
static void hard_behind_grown(void)
{
	char *p = T_REALLOC(block(HUGE), HUGE + LARGE);

	t_need(p != NULL);
	damage_behind(p);
	mistake_free(p);
}

/* ---- Further behind: guards ---- */

#define NO_GUARDS 77 /* exit status, which misuse_run.py knows */

/* Does the kernel have guards that trap? write(2) would say EFAULT. */
static bool has_guards(void)
{
	enum { GUARD_INSTALL = 102 };
	int fd[2];
	char *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	t_need(p != MAP_FAILED && pipe(fd) == 0);
	return madvise(p, 65536, GUARD_INSTALL) == 0 && write(fd[1], p, 1) < 0;
}

static void hard_far_behind(size_t size)
{
	char *p = block(size);

	if (!has_guards())
		_exit(NO_GUARDS);

	p[T_USABLE(p) + 64] = 1; /* faults; the canary is unharmed */
	mistake_free(p);
}
static void hard_guard_span(void) { hard_far_behind(LARGE); }
static void hard_guard_huge(void) { hard_far_behind(HUGE); }

/* ---- Blocks that are free ---- */

static void hard_realloc_freed(void)
{
	char *p = block(64);

	mistake_free(p);
	mistake_realloc(p, 60);
}

static void hard_usable_freed(void)
{
	char *p = block(1000);

	mistake_free(p);
	mistake_usable(p);
}

static void hard_never_out(void)
{
	/* the next one's start is a block that nobody was given, or the slab's unused end */
	char *p = block(200 * T_KiB);

	mistake_free(p + T_USABLE(p) + 8);
}

static void hard_sized_64_as_73(void) { mistake_free_sized(block(64), 73); }

static void *free_by_size(void *p)
{
	mistake_free_sized(p, T_USABLE(p));
	return NULL;
}

/* free_sized looks at all that free does, and by another thread. */
#define SIZED(name, size)                                                                          \
	static void hard_sized_twice_##name(void)                                                  \
	{                                                                                          \
		char *p = block(size);                                                             \
                                                                                                   \
		mistake_free_sized(p, size);                                                       \
		mistake_free_sized(p, size);                                                       \
	}                                                                                          \
	static void hard_sized_inside_##name(void) { mistake_free_sized(block(size) + 16, 48); }   \
	static void hard_sized_behind_##name(void)                                                 \
	{                                                                                          \
		char *p = block(size);                                                             \
                                                                                                   \
		damage_behind(p);                                                                  \
		t_join(t_thread(free_by_size, p));                                                 \
	}
SIZED(64, 64)
SIZED(20k, 20000)
SIZED(span, LARGE)
SIZED(huge, HUGE)
#define SIZED_CASES(name)                                                                          \
	T_CASE(hard_sized_twice_##name), T_CASE(hard_sized_inside_##name),                         \
		T_CASE(hard_sized_behind_##name)

static _Atomic unsigned ready;

static void *free_at_once(void *arg)
{
	atomic_fetch_add(&ready, 1);
	while (atomic_load(&ready) < 2)
		;
	mistake_free(arg);
	return NULL;
}

/* Two threads free it at the same time. */
static void race(size_t size)
{
	char *p = block(size);
	pthread_t a = t_thread(free_at_once, p), b = t_thread(free_at_once, p);

	t_join(a);
	t_join(b);
}
static void hard_race_64(void) { race(64); }
static void hard_race_20k(void) { race(20000); }
static void hard_race_span(void) { race(LARGE); }
static void hard_race_huge(void) { race(HUGE); }

/* ---- Writes after free: any byte ---- */

static void write_byte(size_t size, size_t at)
{
	char *p = block(size);

	mistake_free(p);
	*(volatile char *)t_launder(p + at) = 'w';
	mistake_turn_over(size);
}

static void hard_write_16_first(void) { write_byte(16, 0); }
static void hard_write_16_last(void) { write_byte(16, 15); }
static void hard_write_64_first(void) { write_byte(64, 0); }
static void hard_write_64_last(void) { write_byte(64, 63); }
static void hard_write_1k_middle(void) { write_byte(1024, 517); }
static void hard_write_20k_last(void) { write_byte(20000, 19999); }
static void hard_write_100k_middle(void) { write_byte(100000, 50001); }
static void hard_write_span(void) { write_byte(LARGE, 100); }
static void hard_write_span_last(void) { write_byte(LARGE, LARGE - 1); }
static void hard_write_huge(void) { write_byte(HUGE, 5 * T_MiB); }

/* ---- Heaps ---- */

#if defined(T_DOOR_HAK)
static void hard_heap_behind(void)
{
	hak_heap *heap = hak_heap_new();
	char *p = hak_heap_malloc(heap, 500);

	t_need(p != NULL);
	damage_behind(p);
	mistake_free(p);
}

static void destroy_damaged(size_t size)
{
	hak_heap *heap = hak_heap_new();
	char *p = hak_heap_malloc(heap, size);

	t_need(p != NULL);
	damage_behind(p);
	hak_heap_destroy(heap);
}
static void hard_destroy_64(void) { destroy_damaged(64); }
static void hard_destroy_span(void) { destroy_damaged(LARGE); }
static void hard_destroy_huge(void) { destroy_damaged(HUGE); }

static void hard_heap_twice_span(void)
{
	hak_heap *heap = hak_heap_new();
	char *p = hak_heap_malloc(heap, LARGE);

	mistake_free(p);
	mistake_free(p);
}

/* Switched on while running: blocks from before are as they were, those from then on hardened. */
static void hard_switched_on(void)
{
	char *before, *p;

	t_need(hak_option_set("PROFILE", "balanced") == 0);
	before = block(64);
	t_need(hak_option_set("PROFILE", "hardened") == 0);
	t_need(T_USABLE(before) == 64);
	memset(before, 1, 64);
	T_FREE(before);
	t_need(hak_option_set("WRAP_TINY", "0") == 0); /* without effect here */
	p = block(64);
	t_need(T_USABLE(p) == 72);
	damage_behind(p);
	mistake_free(p);
}

/* And off: hardened blocks stay it until they are freed. */
static void hard_switched_off(void)
{
	char *p = block(64), *large = block(LARGE), *after;

	t_need(hak_option_set("PROFILE", "speed") == 0);
	after = block(64);
	t_need(T_USABLE(after) == 64);
	T_FREE(after);
	T_FREE(large);
	damage_behind(p);
	mistake_free(p);
}
#endif

const struct t_case misuse_hardened_cases[] = {
	BEHIND_CASES(1),
	BEHIND_CASES(16),
	BEHIND_CASES(64),
	BEHIND_CASES(1k),
	BEHIND_CASES(20k),
	BEHIND_CASES(100k),
	BEHIND_CASES(256k),
	BEHIND_CASES(span),
	BEHIND_CASES(huge),
	T_CASE(hard_behind_calloc),
	T_CASE(hard_behind_aligned),
	T_CASE(hard_behind_grown),
	T_CASE(hard_guard_span),
	T_CASE(hard_guard_huge),
	T_CASE(hard_realloc_freed),
	T_CASE(hard_usable_freed),
	T_CASE(hard_never_out),
	T_CASE(hard_sized_64_as_73),
	SIZED_CASES(64),
	SIZED_CASES(20k),
	SIZED_CASES(span),
	SIZED_CASES(huge),
	T_CASE(hard_race_64),
	T_CASE(hard_race_20k),
	T_CASE(hard_race_span),
	T_CASE(hard_race_huge),
	T_CASE(hard_write_16_first),
	T_CASE(hard_write_16_last),
	T_CASE(hard_write_64_first),
	T_CASE(hard_write_64_last),
	T_CASE(hard_write_1k_middle),
	T_CASE(hard_write_20k_last),
	T_CASE(hard_write_100k_middle),
	T_CASE(hard_write_span),
	T_CASE(hard_write_span_last),
	T_CASE(hard_write_huge),
#if defined(T_DOOR_HAK)
	T_CASE(hard_heap_behind),
	T_CASE(hard_destroy_64),
	T_CASE(hard_destroy_span),
	T_CASE(hard_destroy_huge),
	T_CASE(hard_heap_twice_span),
	T_CASE(hard_switched_on),
	T_CASE(hard_switched_off),
#endif
};
const size_t misuse_hardened_count = T_COUNT(misuse_hardened_cases);

/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* One mistake each: `misuse_cases <case>` makes it, and hakmem has to end the process. misuse_run.py
 * knows which line each has to print. `misuse_cases` alone lists the cases.
 *
 * The calls that hakmem complains about are made in functions named mistake_…, so that the offset in
 * the message can be checked. A case that ends with exit status 0 was not noticed; 3: a block was
 * handed out twice. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "door.h"
#include "misuse.h"

/* Nothing may be a tail call: the return address must lie in here. */
#define STAY() __asm__ volatile("" : : : "memory")

void **mistake_allocate_many(size_t size, size_t most, size_t *count)
{
	static void *p[MISTAKE_MANY];

	t_need(most <= MISTAKE_MANY);
	*count = 64 * T_MiB / size < most ? 64 * T_MiB / size : most;
	for (size_t i = 0; i < *count; i++) {
		p[i] = T_MALLOC(size);
		t_need(p[i] != NULL);
	}
	return p;
}

T_NOINLINE void mistake_free(void *p)
{
	T_FREE(p);
	STAY();
}

T_NOINLINE void *mistake_malloc(size_t n)
{
	void *p = T_MALLOC(n);

	STAY();
	return p;
}

T_NOINLINE void *mistake_realloc(void *p, size_t n)
{
	p = T_REALLOC(p, n);
	STAY();
	return p;
}

T_NOINLINE size_t mistake_usable(void *p)
{
	size_t n = T_USABLE(p);

	STAY();
	return n;
}

T_NOINLINE void mistake_free_sized(void *p, size_t n)
{
	T_FREE_SIZED(p, n);
	STAY();
}

static T_NOINLINE void mistake_free_aligned_sized(void *p, size_t align, size_t n)
{
	T_FREE_ALIGNED_SIZED(p, align, n);
	STAY();
}

/* ---- Not ours ---- */

static uint64_t object[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

static void *foreign_page(void)
{
	void *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	t_need(p != MAP_FAILED);
	return p;
}

static void stack(void)
{
	uint64_t local[8] = { 1, 2, 3 };

	mistake_free(t_launder(local + 2));
}
static void static_object(void) { mistake_free(t_launder(object + 2)); }
static void constant(void) { mistake_free(t_launder((void *)(uintptr_t) "sixteen bytes of text")); }
static void mapped_page(void) { mistake_free(foreign_page()); }
static void mapped_page_inside(void) { mistake_free((char *)foreign_page() + 4096); }
static void small_number(void) { mistake_free(t_launder((void *)16)); }
static void wild(void) { mistake_free(t_launder((void *)0x123456789ab0)); }
static void not_canonical(void) { mistake_free(t_launder((void *)0xdeadbeefdeadbee0)); }
static void realloc_stack(void)
{
	uint64_t local[8] = { 1, 2, 3 };

	mistake_realloc(t_launder(local + 2), 100);
}
static void realloc_page(void) { mistake_realloc(foreign_page(), 100); }
static void usable_static(void) { mistake_usable(t_launder(object + 2)); }
static void usable_page(void) { mistake_usable(foreign_page()); }

/* ---- Inside a block ---- */

static void inside(size_t size, size_t offset)
{
	char *p = T_MALLOC(size);

	t_need(p != NULL);
	mistake_free(p + offset);
}

static void *inside_elsewhere(void *arg)
{
	mistake_free(arg);
	/* Small ones wait in this thread's outbox at most until it ends. */
	return NULL;
}

static void inside_by_other(size_t size, size_t offset)
{
	char *p = T_MALLOC(size);

	t_need(p != NULL);
	t_join(t_thread(inside_elsewhere, p + offset));
}

static void inside_64_other(void) { inside_by_other(64, 16); }
static void inside_1024_other(void) { inside_by_other(1024, 512); }
static void inside_20k_other(void) { inside_by_other(20000, 4096); }
static void inside_100k_other(void) { inside_by_other(100000, 65536); }
static void inside_span(void) { inside(8 * T_MiB, T_MiB); }
static void inside_span_16(void) { inside(8 * T_MiB, 16); }
static void inside_span_other(void) { inside_by_other(8 * T_MiB, 100); }
static void inside_huge(void) { inside(64 * T_MiB, 16 * T_MiB); }
static void inside_huge_16(void) { inside(64 * T_MiB, 16); }
static void inside_huge_other(void) { inside_by_other(64 * T_MiB, 4096); }
static void misaligned_64_other(void) { inside_by_other(64, 1); }
static void misaligned_20k_other(void) { inside_by_other(20000, 8); }
static void misaligned_span(void) { inside(8 * T_MiB, 1); }
static void misaligned_huge(void) { inside(64 * T_MiB, 8); }

/* A thread's own small blocks are looked at when they leave the bin. */
static void inside_own(size_t size, size_t offset)
{
	size_t count;
	void **p = mistake_allocate_many(size, MISTAKE_MANY, &count);

	mistake_free((char *)p[count / 2] + offset);
	for (size_t i = 0; i < count; i++)
		if (i != count / 2)
			mistake_free(p[i]);
}

static void inside_own_64(void) { inside_own(64, 32); }
static void inside_own_1024(void) { inside_own(1024, 16); }
static void inside_own_20k(void) { inside_own(20000, 4096); }
static void inside_own_100k(void) { inside_own(100000, 50000 / 16 * 16); }
static void misaligned_own_64(void) { inside_own(64, 8); }

/* ---- Wrong sizes ---- */

static void sized_64_as_65(void) { mistake_free_sized(T_MALLOC(64), 65); }
static void sized_64_as_5000(void) { mistake_free_sized(T_MALLOC(64), 5000); }
static void sized_64_as_16(void) { mistake_free_sized(T_MALLOC(64), 16); }
static void sized_20k_as_64(void) { mistake_free_sized(T_MALLOC(20000), 64); }
static void sized_100k_as_200k(void) { mistake_free_sized(T_MALLOC(100000), 200000); }
static void sized_span_as_64(void) { mistake_free_sized(T_MALLOC(8 * T_MiB), 64); }
static void sized_span_as_9m(void) { mistake_free_sized(T_MALLOC(8 * T_MiB), 9 * T_MiB); }
static void sized_huge_as_64(void) { mistake_free_sized(T_MALLOC(64 * T_MiB), 64); }
static void sized_huge_as_80m(void) { mistake_free_sized(T_MALLOC(64 * T_MiB), 80 * T_MiB); }
static void sized_64_as_max(void) { mistake_free_sized(T_MALLOC(64), t_hide(SIZE_MAX)); }
static void sized_stack(void)
{
	uint64_t local[8] = { 1, 2, 3 };

	mistake_free_sized(t_launder(local + 2), 48);
}
static void aligned_sized_64_as_5000(void)
{
	mistake_free_aligned_sized(T_ALIGNED_ALLOC(64, 64), 64, 5000);
}
static void aligned_sized_as_64k(void)
{
	/* One of these two cannot be aligned to 64 KiB. */
	char *p = T_ALIGNED_ALLOC(64, 64), *q = T_ALIGNED_ALLOC(64, 64);

	mistake_free_aligned_sized(t_aligned(p, 65536) ? q : p, 65536, 64);
}

/* ---- Heaps ---- */

#if defined(T_DOOR_HAK)
static void destroyed(size_t size)
{
	hak_heap *heap = hak_heap_new();
	void *p = hak_heap_malloc(heap, size);

	t_need(p != NULL);
	hak_heap_destroy(heap);
	mistake_free(p);
}
static void destroyed_64(void) { destroyed(64); }
static void destroyed_20k(void) { destroyed(20000); }
static void destroyed_span(void) { destroyed(8 * T_MiB); }
static void destroyed_huge(void) { destroyed(64 * T_MiB); }
static void heap_double_free(void)
{
	hak_heap *heap = hak_heap_new();
	void *p = hak_heap_malloc(heap, 64);

	mistake_free(p);
	mistake_free(p);
}
#endif

static const struct t_case cases[] = {
	T_CASE(stack),
	T_CASE(static_object),
	T_CASE(constant),
	T_CASE(mapped_page),
	T_CASE(mapped_page_inside),
	T_CASE(small_number),
	T_CASE(wild),
	T_CASE(not_canonical),
	T_CASE(realloc_stack),
	T_CASE(realloc_page),
	T_CASE(usable_static),
	T_CASE(usable_page),
	T_CASE(inside_64_other),
	T_CASE(inside_1024_other),
	T_CASE(inside_20k_other),
	T_CASE(inside_100k_other),
	T_CASE(inside_span),
	T_CASE(inside_span_16),
	T_CASE(inside_span_other),
	T_CASE(inside_huge),
	T_CASE(inside_huge_16),
	T_CASE(inside_huge_other),
	T_CASE(misaligned_64_other),
	T_CASE(misaligned_20k_other),
	T_CASE(misaligned_span),
	T_CASE(misaligned_huge),
	T_CASE(inside_own_64),
	T_CASE(inside_own_1024),
	T_CASE(inside_own_20k),
	T_CASE(inside_own_100k),
	T_CASE(misaligned_own_64),
	T_CASE(sized_64_as_65),
	T_CASE(sized_64_as_5000),
	T_CASE(sized_64_as_16),
	T_CASE(sized_20k_as_64),
	T_CASE(sized_100k_as_200k),
	T_CASE(sized_span_as_64),
	T_CASE(sized_span_as_9m),
	T_CASE(sized_huge_as_64),
	T_CASE(sized_huge_as_80m),
	T_CASE(sized_64_as_max),
	T_CASE(sized_stack),
	T_CASE(aligned_sized_64_as_5000),
	T_CASE(aligned_sized_as_64k),
#if defined(T_DOOR_HAK)
	T_CASE(destroyed_64),
	T_CASE(destroyed_20k),
	T_CASE(destroyed_span),
	T_CASE(destroyed_huge),
	T_CASE(heap_double_free),
#endif
};

static bool run(const char *name, const struct t_case *table, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(table[i].name, name) == 0) {
			table[i].run();
			return true;
		}
	return false;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		for (size_t i = 0; i < T_COUNT(cases); i++)
			printf("%s\n", cases[i].name);
		for (size_t i = 0; i < misuse_list_count; i++)
			printf("%s\n", misuse_list_cases[i].name);
		for (size_t i = 0; i < misuse_hardened_count; i++)
			printf("%s\n", misuse_hardened_cases[i].name);
		return 0;
	}
	if (!run(argv[1], cases, T_COUNT(cases)) &&
	    !run(argv[1], misuse_list_cases, misuse_list_count) &&
	    !run(argv[1], misuse_hardened_cases, misuse_hardened_count))
		return 2;
	return 0;
}

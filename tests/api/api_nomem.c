/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Out of memory, by RLIMIT_AS: NULL and ENOMEM, nothing lost, nothing corrupted, and the next call
 * works when memory is back. */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>

#include "door.h"

#define MARK 77

/* Blocks form a list through their own memory: the test needs none beside them. */
struct link {
	struct link *next;
	size_t size;
	uint64_t key;
};

static void limit_to(size_t more)
{
	struct rlimit r;

	t_need(getrlimit(RLIMIT_AS, &r) == 0);
	r.rlim_cur = t_status_kib("VmSize") * T_KiB + more;
	t_need(setrlimit(RLIMIT_AS, &r) == 0);
}

static void unlimited(void)
{
	struct rlimit r;

	t_need(getrlimit(RLIMIT_AS, &r) == 0);
	r.rlim_cur = r.rlim_max;
	t_need(setrlimit(RLIMIT_AS, &r) == 0);
}

static struct link *push(struct link *list, struct link *b, size_t size, uint64_t key)
{
	b->next = list;
	b->size = size;
	b->key = key;
	if (size > sizeof(*b))
		t_fill(b + 1, size - sizeof(*b), key);
	return b;
}

static bool intact(const struct link *b)
{
	return b->size == sizeof(*b) ||
	       t_holds(b + 1, b->size - sizeof(*b), b->size - sizeof(*b), b->key);
}

static struct link *allocate_until_null(size_t size, size_t *count)
{
	struct link *list = NULL, *b;

	*count = 0;
	errno = MARK;
	while ((b = T_MALLOC(size)) != NULL) {
		list = push(list, b, size, *count);
		++*count;
	}
	t_equal(errno, ENOMEM);
	return list;
}

static void all_calls_are_refused(size_t size)
{
	void *out = &out, *p;

	errno = MARK;
	t_check_at(T_CALLOC(1, size) == NULL && errno == ENOMEM, size);
	errno = MARK;
	p = T_ALIGNED_ALLOC(4096, size + 2 * T_MiB);
	t_check_at(p == NULL && errno == ENOMEM, size);
	errno = MARK;
	t_check_at(T_POSIX_MEMALIGN(&out, 4096, size + 2 * T_MiB) == ENOMEM, size);
	t_check_at(out == &out && errno == MARK, size);
	T_FREE(NULL);
}

/* A realloc that cannot grow leaves the block as it was. */
static void realloc_is_refused(struct link *b)
{
	size_t to = b->size * 2 + 8 * T_MiB;
	struct link *q;

	errno = MARK;
	q = T_REALLOC(b, to);
	t_check_at(q == NULL && errno == ENOMEM, b->size);
	t_check_at(intact(b), b->size);
}

static void check_and_free(struct link *list, size_t count)
{
	size_t found = 0;

	for (struct link *b = list; b != NULL; b = b->next, found++)
		t_check_at(intact(b), b->size);
	t_equal(found, count);
	errno = MARK;
	while (list != NULL) {
		struct link *next = list->next;

		T_FREE(list);
		list = next;
	}
	t_equal(errno, MARK);
}

static void exhaust(size_t size, size_t room)
{
	size_t count, again;
	struct link *list;

	limit_to(room);
	list = allocate_until_null(size, &count);
	/* At least half of the room became blocks. */
	t_check_at(count * size >= room / 2, size);
	all_calls_are_refused(size < 1024 ? 100000 : size);
	realloc_is_refused(list);
	check_and_free(list, count);
	/* Memory is back: still under the limit, nearly as much can be had. */
	list = allocate_until_null(size, &again);
	t_check_at(again >= count - count / 8, size);
	check_and_free(list, again);
	unlimited();
	list = push(NULL, T_MALLOC(100 * T_MiB), 100 * T_MiB, 1);
	check_and_free(list, 1);
}

static void tiny(void) { exhaust(48, 64 * T_MiB); }
static void kilobyte(void) { exhaust(1024, 64 * T_MiB); }
static void mid(void) { exhaust(20000, 128 * T_MiB); }
static void large_class(void) { exhaust(200000, 128 * T_MiB); }
static void span(void) { exhaust(3 * T_MiB / 2, 256 * T_MiB); }
static void huge(void) { exhaust(40 * T_MiB, 512 * T_MiB); }

/* The fullest heap: after the large blocks are refused, the small ones fill what is left, and each
 * kind can be had again as soon as one of it is freed. */
static void kinds_in_turn(void)
{
	static const size_t sizes[] = { 40 * T_MiB, 3 * T_MiB, 300000, 30000, 1000, 32 };
	struct link *list[T_COUNT(sizes)];
	size_t count[T_COUNT(sizes)];

	limit_to(256 * T_MiB);
	for (unsigned i = 0; i < T_COUNT(sizes); i++)
		list[i] = allocate_until_null(sizes[i], &count[i]);
	for (unsigned i = 0; i < T_COUNT(sizes); i++) {
		struct link *b = list[i];

		if (b == NULL)
			continue;
		list[i] = b->next;
		T_FREE(b);
		b = T_MALLOC(sizes[i]);
		t_check_at(b != NULL, sizes[i]);
		if (b != NULL)
			list[i] = push(list[i], b, sizes[i], count[i] - 1);
		else
			count[i]--;
	}
	for (unsigned i = 0; i < T_COUNT(sizes); i++)
		check_and_free(list[i], count[i]);
	unlimited();
}

/* Blocks in bins keep slabs here and there from going back; but not when memory is refused. */
static void bins_give_way(void)
{
	static void *p[14000];

	for (size_t i = 0; i < T_COUNT(p); i++) {
		p[i] = T_MALLOC(1000);
		t_need(p[i] != NULL);
	}
	limit_to(T_MiB);
	for (size_t i = 0; i < T_COUNT(p); i++)
		T_FREE(p[i * 7919 % T_COUNT(p)]);
	p[0] = T_MALLOC(12 * T_MiB);
	t_check(p[0] != NULL);
	unlimited();
	T_FREE(p[0]);
}

static _Atomic unsigned waiting;

static void *hungry(void *arg)
{
	size_t size = (size_t)(uintptr_t)arg, count;
	struct link *list;

	atomic_fetch_sub(&waiting, 1);
	while (atomic_load(&waiting) > 1)
		;
	for (unsigned round = 0; round < 3; round++) {
		list = allocate_until_null(size, &count);
		check_and_free(list, count);
	}
	return NULL;
}

/* Several threads that all run into the limit, and are freed from it by each other. */
static void threads(void)
{
	static const size_t sizes[] = { 64, 5000, 70000, T_MiB };
	pthread_t thread[T_COUNT(sizes)];

	atomic_store(&waiting, T_COUNT(sizes) + 1);
	for (unsigned i = 0; i < T_COUNT(sizes); i++)
		thread[i] = t_thread(hungry, (void *)(uintptr_t)sizes[i]);
	limit_to(100 * T_MiB);
	while (atomic_load(&waiting) > 1)
		t_sleep_ms(1);
	for (unsigned i = 0; i < T_COUNT(sizes); i++)
		t_join(thread[i]);
	unlimited();
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(bins_give_way), /* first: there is no other free memory yet */
		T_CASE(tiny),          T_CASE(kilobyte), T_CASE(mid),           T_CASE(large_class),
		T_CASE(span),          T_CASE(huge),     T_CASE(kinds_in_turn), T_CASE(threads),
	};

	return t_main(argc, argv, cases, T_COUNT(cases));
}

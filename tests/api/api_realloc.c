/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* realloc keeps contents, whatever kind of block becomes whatever other. */
#include <string.h>

#include "door.h"

/* The sizes at which something changes: 16-byte classes, four classes a doubling to 256 KiB, units,
 * SuperSlabs, and 32 MiB, where blocks begin to be mapped one by one. */
static size_t edges(size_t *out)
{
	size_t count = 0;

	for (size_t n = 16; n < 1024; n += 16)
		out[count++] = n;
	for (size_t n = 1024; n < 256 * T_KiB; n *= 2)
		for (size_t quarter = 0; quarter < 4; quarter++)
			out[count++] = n + quarter * n / 4;
	for (size_t n = 256 * T_KiB; n <= 512 * T_KiB; n += 64 * T_KiB)
		out[count++] = n;
	for (size_t n = T_MiB; n <= 64 * T_MiB; n *= 2)
		out[count++] = n;
	return count;
}

static void *resize(void *p, size_t from, size_t to, uint64_t key)
{
	size_t kept = from < to ? from : to;
	void *q = T_REALLOC(p, to);

	t_need(q != NULL);
	t_check_at(t_aligned(q, 16), to);
	t_check_at(T_USABLE(q) >= to, to);
	t_check_at(t_holds(q, kept, from, key), to);
	return q;
}

static void up_and_down(void)
{
	size_t edge[256], count = edges(edge), size = 1;
	void *p = T_MALLOC(size);
	uint64_t key = 1;

	t_need(p != NULL);
	t_fill(p, size, key);
	for (size_t i = 0; i < 2 * count; i++) {
		size_t n = edge[i < count ? i : 2 * count - 1 - i];

		for (int d = -1; d <= 1; d++) {
			size_t to = n + (size_t)(i < count ? d : -d);

			p = resize(p, size, to, key);
			size = to;
			t_fill(p, size, ++key);
		}
	}
	T_FREE(p);
}

/* Every kind to every kind, with neighbours that must not be touched. */
static void all_pairs(void)
{
	static const size_t size[] = { 1,          16,        100,           512,       1008,
				       1024,       1025,      3000,          8192,      20000,
				       32768,      32769,     100000,        262144,    262145,
				       500000,     T_MiB,     2 * T_MiB + 1, 5 * T_MiB, 31 * T_MiB,
				       33 * T_MiB, 70 * T_MiB };

	for (unsigned a = 0; a < T_COUNT(size); a++)
		for (unsigned b = 0; b < T_COUNT(size); b++) {
			size_t n = size[a] < 4 * T_MiB ? size[a] : 4 * T_MiB;
			void *left = T_MALLOC(n), *p = T_MALLOC(size[a]), *right = T_MALLOC(n);
			uint64_t key = a * 100 + b;

			t_need(left != NULL && p != NULL && right != NULL);
			t_fill(left, n, key + 1);
			t_fill(right, n, key + 2);
			t_fill(p, size[a], key);
			p = resize(p, size[a], size[b], key);
			t_fill(p, size[b], key);
			t_check_at(t_holds(left, n, n, key + 1), key);
			t_check_at(t_holds(right, n, n, key + 2), key);
			T_FREE(left);
			T_FREE(right);
			T_FREE(p);
		}
}

/* A growing buffer, the commonest use, with others that grow beside it. */
static void growing_together(void)
{
	enum { N = 20 };
	void *p[N] = { NULL };
	size_t size[N] = { 0 };
	uint64_t seed = 7;

	for (unsigned round = 0; round < t_scale(4000, 200); round++) {
		unsigned i = (unsigned)t_below(&seed, N);
		size_t to = size[i] + 1 + t_below(&seed, size[i] / 2 + 40);

		if (to > 3 * T_MiB)
			to = 1 + t_below(&seed, 100);
		p[i] = p[i] == NULL ? T_MALLOC(to) : resize(p[i], size[i], to, i);
		t_need(p[i] != NULL);
		t_fill(p[i], to, i);
		size[i] = to;
	}
	for (unsigned i = 0; i < N; i++) {
		t_check_at(t_holds(p[i], size[i], size[i], i), i);
		T_FREE(p[i]);
	}
}

struct passed {
	void *p;
	size_t size;
};

static void *resize_here(void *arg)
{
	struct passed *b = arg;
	static const size_t to[] = { 10, 2000, 50, 100000, 400000, 90, 3 * T_MiB, 34 * T_MiB, 64 };

	for (unsigned i = 0; i < T_COUNT(to); i++) {
		b->p = resize(b->p, b->size, to[i], i);
		b->size = to[i];
		t_fill(b->p, b->size, i + 1);
	}
	return NULL;
}

/* Blocks of another thread, which may have ended. */
static void by_another_thread(void)
{
	for (size_t n = 1; n < 40 * T_MiB; n = n * 2 + 3) {
		struct passed b = { T_MALLOC(n), n };

		t_need(b.p != NULL);
		t_fill(b.p, n, 0);
		t_join(t_thread(resize_here, &b));
		t_fill(b.p, b.size, 0);
		resize_here(&b);
		T_FREE(b.p);
	}
}

/* The usable part of a block is the caller's, and realloc copies it when asked to. */
static void usable_part_is_kept(void)
{
	for (size_t n = 1; n < 600 * T_KiB; n = n + n / 3 + 1) {
		void *p = T_MALLOC(n);
		size_t usable;

		t_need(p != NULL);
		usable = T_USABLE(p);
		t_fill(p, usable, n);
		p = resize(p, usable, 2 * usable + 100, n);
		T_FREE(p);
	}
}

static void array(void)
{
	unsigned *p = NULL;

	for (unsigned count = 1; count <= 300000; count = count * 2 + 1) {
		p = T_REALLOCARRAY(p, count, sizeof(*p));
		t_need(p != NULL);
		for (unsigned i = 0; i < count / 2; i++)
			t_check_at(p[i] == i, i);
		for (unsigned i = 0; i < count; i++)
			p[i] = i;
	}
	t_check(T_REALLOCARRAY(p, 0, 4) == NULL); /* frees, as realloc does */
	p = T_REALLOCARRAY(NULL, 10, 10);
	t_need(p != NULL);
	t_check(T_REALLOCARRAY(p, 4, 0) == NULL);
}

/* A shrunk block gives its rest back: 100 blocks of 8 MiB become 100 of 64 KiB. */
static void shrinking_gives_back(void)
{
	enum { N = 100 };
	void *p[N];
	size_t before = t_live();

	for (unsigned i = 0; i < N; i++) {
		p[i] = T_MALLOC(8 * T_MiB);
		t_need(p[i] != NULL);
		p[i] = T_REALLOC(p[i], 64 * T_KiB);
		t_need(p[i] != NULL);
	}
	t_check(t_live() < before + N * 256 * T_KiB);
	for (unsigned i = 0; i < N; i++)
		T_FREE(p[i]);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(up_and_down),          T_CASE(all_pairs),           T_CASE(growing_together),
		T_CASE(by_another_thread),    T_CASE(usable_part_is_kept), T_CASE(array),
		T_CASE(shrinking_gives_back),
	};

	return t_main(argc, argv, cases, T_COUNT(cases));
}

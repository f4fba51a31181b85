/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Random operations against a reference: the live blocks as a sorted array of intervals. No two
 * blocks overlap, in their whole usable length; each is aligned and keeps its contents.
 *
 *   model_ops [operations [seed]] */
#include <stdlib.h>
#include <string.h>

#include "door.h"

#define MOST 3000u

struct interval {
	uintptr_t start, end; /* [start, start + usable) */
	size_t size;
	uint64_t key;
};

static struct interval model[MOST]; /* by start */
static size_t count;
static uint64_t seed = 1;
static size_t live;

/* The first interval that starts above `at`. */
static size_t above(uintptr_t at)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (model[mid].start > at)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

static void insert(void *p, size_t size, size_t align)
{
	uintptr_t start = (uintptr_t)p;
	size_t usable = T_USABLE(p), at = above(start);
	/* A block of no bytes is still somewhere where no other is. */
	struct interval new = { start, start + (usable > 0 ? usable : 1), size, t_random(&seed) };

	t_need(t_aligned(p, align < 16 ? 16 : align));
	t_need(usable >= size);
	if (at > 0 && model[at - 1].end > new.start)
		t_fatal(__FILE__, __LINE__, "the block begins behind the end of the one before it");
	if (at < count && model[at].start < new.end)
		t_fatal(__FILE__, __LINE__, "the block ends before the beginning of the next one");
	memmove(&model[at + 1], &model[at], (count - at) * sizeof(model[0]));
	model[at] = new;
	count++;
	live += size;
	t_fill(p, size, new.key);
}

static struct interval take_out(size_t i)
{
	struct interval out = model[i];

	if (!t_holds((void *)out.start, out.size, out.size, out.key))
		t_fatal(__FILE__, __LINE__, "a block keeps its contents");
	count--;
	memmove(&model[i], &model[i + 1], (count - i) * sizeof(model[0]));
	live -= out.size;
	return out;
}

static size_t some_size(void)
{
	size_t r = t_below(&seed, 1000);
	size_t top = r < 500 ? 128 : r < 800 ? 1100 : r < 950 ? 40000 : r < 993 ? 600000 : 5000000;

	if (live > 600 * T_MiB && top > 1100)
		top = 1100;
	else if (r == 999)
		top = 70 * T_MiB;
	return t_below(&seed, top);
}

static void allocate(void)
{
	size_t size = some_size(), align = 1;
	void *p = NULL;

	switch (t_below(&seed, 8)) {
	case 0:
		p = T_CALLOC(1, size);
		t_need(p != NULL);
		t_need(t_is_zero(p, size));
		break;
	case 1:
		align = (size_t)1 << t_below(&seed, 17);
		p = T_ALIGNED_ALLOC(align, size);
		break;
	case 2:
		align = (size_t)8 << t_below(&seed, 19);
		t_need(T_POSIX_MEMALIGN(&p, align, size) == 0);
		break;
	default:
		p = T_MALLOC(size);
	}
	t_need(p != NULL);
	insert(p, size, align);
}

static void resize(void)
{
	struct interval old = take_out(t_below(&seed, count));
	size_t size = some_size() + 1;
	void *p = T_REALLOC((void *)old.start, size);

	t_need(p != NULL);
	if (!t_holds(p, size < old.size ? size : old.size, old.size, old.key))
		t_fatal(__FILE__, __LINE__, "realloc keeps the contents");
	insert(p, size, 1);
}

static void release(void)
{
	struct interval old = take_out(t_below(&seed, count));

	T_FREE((void *)old.start);
}

/* Waves: growth, shrinkage, and runs of frees in address order, which empty slabs whole. */
static void step(size_t i)
{
	size_t grow = i / 5000 % 3 == 0 ? 60 : i / 5000 % 3 == 1 ? 45 : 30;
	size_t r = t_below(&seed, 100);

	if (count == 0 || (r < grow && count < MOST - 1)) {
		allocate();
	} else if (r < grow + 10) {
		resize();
	} else if (r == 99) {
		size_t n = 1 + t_below(&seed, 100), at = t_below(&seed, count);

		while (n-- > 0 && at < count)
			T_FREE((void *)take_out(at).start);
	} else {
		release();
	}
}

int main(int argc, char **argv)
{
	size_t operations = argc > 1 ? strtoul(argv[1], NULL, 10) : t_scale(200000, 20000);
	size_t before;

	if (argc > 2)
		seed = strtoul(argv[2], NULL, 10);
	t_say("model_ops (%s) %zu %llu", T_DOOR, operations, (unsigned long long)seed);
	before = t_live();
	for (size_t i = 0; i < operations; i++)
		step(i);
	while (count > 0)
		T_FREE((void *)take_out(count - 1).start);
	t_check(t_live() <= before + T_MiB);
	return t_failures() == 0 ? 0 : 1;
}

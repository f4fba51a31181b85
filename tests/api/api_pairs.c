/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Every way to get a block with every way to give it back, at the edges of all classes and of what
 * comes above, for every alignment up to a unit, by the same thread and by another. Each block is
 * filled to its usable end for as long as it lives, among others: so nothing may overlap, and the
 * usable size may not change. */
#include <semaphore.h>
#include <string.h>
#include <unistd.h>

#include "door.h"

#define TOP       (600 * T_KiB)
#define MAX_ALIGN (64 * T_KiB)

/* What a block may be given back to: C23 ties the sized frees to the functions that allocate. */
enum kind { BY_MALLOC = 1, BY_ALIGNED_ALLOC = 2, BY_OTHERS = 4, BY_ANY = 7 };

struct block {
	unsigned char *p;
	size_t size, alignment, usable;
	unsigned give; /* index of its way back */
	uint64_t key;
};

struct maker {
	void *(*make)(size_t alignment, size_t size);
	enum kind kind;
	bool aligns; /* as asked; else to 16 bytes */
};

struct giver {
	void (*give)(const struct block *b);
	enum kind takes;
};

/* ---- ways to get a block ---------------------------------------------------------------------- */

#define MAKER(name, expression)                                                                    \
	static void *name(size_t alignment, size_t size)                                           \
	{                                                                                          \
		(void)alignment;                                                                   \
		return expression;                                                                 \
	}

static size_t above_zero(size_t n) { return n != 0 ? n : 1; }

static void *page_aligned(void *p)
{
	t_check(t_aligned(p, (size_t)sysconf(_SC_PAGESIZE)));
	return p;
}

static void *posix(size_t alignment, size_t size)
{
	void *p = NULL;

	t_equal(T_POSIX_MEMALIGN(&p, alignment, size), 0);
	return t_launder(p);
}

static void *dirty(size_t size)
{
	void *p = T_MALLOC(size);

	t_need(p != NULL);
	memset(p, 0xa5, size < 4096 ? size : 4096);
	return p;
}

static void *zeros(void *p, size_t size)
{
	t_need(p != NULL);
	t_check_at(t_is_zero(p, size), size);
	return p;
}

MAKER(by_malloc, T_MALLOC(size))
MAKER(by_calloc, zeros(T_CALLOC(1, size), size))
MAKER(by_calloc_of_bytes, zeros(T_CALLOC(size, 1), size))
MAKER(by_realloc, T_REALLOC(NULL, size))
MAKER(by_growing, size != 0 ? T_REALLOC(dirty(size / 2), size) : T_MALLOC(0))
MAKER(by_shrinking, size != 0 ? T_REALLOC(dirty(2 * size + 1), size) : T_MALLOC(0))
MAKER(by_shrinking_a_little, size != 0 ? T_REALLOC(dirty(size + 1), size) : T_MALLOC(0))
MAKER(by_realloc_of_aligned,
      size != 0 ? T_REALLOC(T_ALIGNED_ALLOC(4096, size / 2), size) : T_MALLOC(0))
MAKER(by_reallocarray, T_REALLOCARRAY(NULL, size, 1))
MAKER(by_aligned_alloc, T_ALIGNED_ALLOC(alignment, size))
MAKER(by_memalign, T_MEMALIGN(alignment, size))
MAKER(by_posix_memalign, posix(alignment, size))
MAKER(by_valloc, page_aligned(T_VALLOC(size)))
MAKER(by_pvalloc, page_aligned(T_PVALLOC(size)))

/* ---- ways to give it back --------------------------------------------------------------------- */

#define GIVER(name, statement)                                                                     \
	static void name(const struct block *b) { statement; }

GIVER(to_free, T_FREE(b->p))
GIVER(to_free_sized, T_FREE_SIZED(b->p, b->size))
GIVER(to_free_aligned_sized, T_FREE_ALIGNED_SIZED(b->p, b->alignment, b->size))
GIVER(to_realloc, t_check(T_REALLOC(b->p, 0) == NULL))
GIVER(to_reallocarray, t_check(T_REALLOCARRAY(b->p, 0, above_zero(b->size)) == NULL))

/* ---- the C++ operators by their mangled names, and the other library's own -------------------- */

#if defined(T_DOOR_PRELOAD)
static const char tag; /* std::nothrow */

#define NEW(name, symbol)                                                                          \
	MAKER(name, T_LOOKED_UP(void *(*)(size_t, const void *), symbol)(size, &tag))
#define NEW_ALIGNED(name, symbol)                                                                  \
	MAKER(name,                                                                                \
	      T_LOOKED_UP(void *(*)(size_t, size_t, const void *), symbol)(size, alignment, &tag))
/* The tag is one argument more than the throwing ones take, and in its place for the others. */
NEW(by_new, "_Znwm")
NEW(by_new_array, "_Znam")
NEW(by_new_nothrow, "_ZnwmRKSt9nothrow_t")
NEW(by_new_array_nothrow, "_ZnamRKSt9nothrow_t")
NEW_ALIGNED(by_new_aligned, "_ZnwmSt11align_val_t")
NEW_ALIGNED(by_new_array_aligned, "_ZnamSt11align_val_t")
NEW_ALIGNED(by_new_aligned_nothrow, "_ZnwmSt11align_val_tRKSt9nothrow_t")
NEW_ALIGNED(by_new_array_aligned_nothrow, "_ZnamSt11align_val_tRKSt9nothrow_t")

#define DELETE(name, symbol) GIVER(name, T_LOOKED_UP(void (*)(void *), symbol)(b->p))
#define DELETE_2(name, symbol, second)                                                             \
	GIVER(name, T_LOOKED_UP(void (*)(void *, size_t), symbol)(b->p, second))
#define DELETE_3(name, symbol, second, type, third)                                                \
	GIVER(name, T_LOOKED_UP(void (*)(void *, size_t, type), symbol)(b->p, second, third))
DELETE(to_cfree, "cfree")
DELETE(to_delete, "_ZdlPv")
DELETE(to_delete_array, "_ZdaPv")
DELETE_2(to_delete_sized, "_ZdlPvm", b->size)
DELETE_2(to_delete_array_sized, "_ZdaPvm", b->size)
DELETE_2(to_delete_aligned, "_ZdlPvSt11align_val_t", b->alignment)
DELETE_2(to_delete_array_aligned, "_ZdaPvSt11align_val_t", b->alignment)
DELETE_3(to_delete_sized_aligned, "_ZdlPvmSt11align_val_t", b->size, size_t, b->alignment)
DELETE_3(to_delete_array_sized_aligned, "_ZdaPvmSt11align_val_t", b->size, size_t, b->alignment)
DELETE_2(to_delete_nothrow, "_ZdlPvRKSt9nothrow_t", (size_t)&tag)
DELETE_2(to_delete_array_nothrow, "_ZdaPvRKSt9nothrow_t", (size_t)&tag)
DELETE_3(to_delete_aligned_nothrow, "_ZdlPvSt11align_val_tRKSt9nothrow_t", b->alignment,
	 const void *, &tag)
DELETE_3(to_delete_array_aligned_nothrow, "_ZdaPvSt11align_val_tRKSt9nothrow_t", b->alignment,
	 const void *, &tag)
#elif defined(T_DOOR_HAK)
static void *one_of_a_batch(size_t size)
{
	void *p = NULL;

	t_equal(hak_malloc_batch(size, 1, &p), 1);
	return t_launder(p);
}

MAKER(by_zalloc, zeros(hak_zalloc(size), size))
MAKER(by_at_least, hak_malloc_at_least(size).ptr)
MAKER(by_batch, one_of_a_batch(size))
MAKER(by_aligned_zalloc, zeros(hak_aligned_zalloc(alignment, size), size))
MAKER(by_aligned_realloc,
      size != 0 ? hak_aligned_realloc(T_ALIGNED_ALLOC(alignment, size / 2), alignment, size)
		: T_ALIGNED_ALLOC(alignment, 0))
GIVER(to_free_batch, hak_free_batch(1, (void *const *)&b->p))
#endif

static const struct maker makers[] = {
	{ by_malloc, BY_MALLOC, false },
	{ by_calloc, BY_MALLOC, false },
	{ by_calloc_of_bytes, BY_MALLOC, false },
	{ by_realloc, BY_MALLOC, false },
	{ by_growing, BY_MALLOC, false },
	{ by_shrinking, BY_MALLOC, false },
	{ by_shrinking_a_little, BY_MALLOC, false },
	{ by_realloc_of_aligned, BY_MALLOC, false },
	{ by_reallocarray, BY_MALLOC, false },
	{ by_valloc, BY_OTHERS, false },
	{ by_pvalloc, BY_OTHERS, false },
	{ by_aligned_alloc, BY_ALIGNED_ALLOC, true },
	{ by_memalign, BY_OTHERS, true },
	{ by_posix_memalign, BY_OTHERS, true },
#if defined(T_DOOR_PRELOAD)
	{ by_new, BY_OTHERS, false },
	{ by_new_array, BY_OTHERS, false },
	{ by_new_nothrow, BY_OTHERS, false },
	{ by_new_array_nothrow, BY_OTHERS, false },
	{ by_new_aligned, BY_OTHERS, true },
	{ by_new_array_aligned, BY_OTHERS, true },
	{ by_new_aligned_nothrow, BY_OTHERS, true },
	{ by_new_array_aligned_nothrow, BY_OTHERS, true },
#elif defined(T_DOOR_HAK)
	{ by_zalloc, BY_MALLOC, false },
	{ by_at_least, BY_OTHERS, false },
	{ by_batch, BY_MALLOC, false },
	{ by_aligned_zalloc, BY_ALIGNED_ALLOC, true },
	{ by_aligned_realloc, BY_ALIGNED_ALLOC, true },
#endif
};

static const struct giver givers[] = {
	{ to_free, BY_ANY },
	{ to_free_sized, BY_MALLOC },
	{ to_free_aligned_sized, BY_ALIGNED_ALLOC },
	{ to_realloc, BY_ANY },
	{ to_reallocarray, BY_ANY },
#if defined(T_DOOR_PRELOAD)
	{ to_cfree, BY_ANY },
	{ to_delete, BY_ANY },
	{ to_delete_array, BY_ANY },
	{ to_delete_sized, BY_ANY },
	{ to_delete_array_sized, BY_ANY },
	{ to_delete_aligned, BY_ANY },
	{ to_delete_array_aligned, BY_ANY },
	{ to_delete_sized_aligned, BY_ANY },
	{ to_delete_array_sized_aligned, BY_ANY },
	{ to_delete_nothrow, BY_ANY },
	{ to_delete_array_nothrow, BY_ANY },
	{ to_delete_aligned_nothrow, BY_ANY },
	{ to_delete_array_aligned_nothrow, BY_ANY },
#elif defined(T_DOOR_HAK)
	{ to_free_batch, BY_ANY },
#endif
};

/* ---- blocks that are alive -------------------------------------------------------------------- */

static struct block make(const struct maker *m, size_t alignment, size_t size)
{
	static uint64_t key;
	struct block b = { .size = size, .alignment = m->aligns ? alignment : 16, .key = ++key };

	b.p = t_launder(m->make(b.alignment, size));
	t_need(b.p != NULL);
	t_check_at(t_aligned(b.p, b.alignment), size);
	t_check_at(t_aligned(b.p, 16), size);
	b.usable = T_USABLE(b.p);
	t_check_at(b.usable >= size, size);
	t_fill(b.p, b.usable, b.key);
	return b;
}

static void give_back(const struct block *b)
{
	if (b->p == NULL)
		return;
	t_check_at(T_USABLE(b->p) == b->usable, b->size);
	t_check_at(t_holds(b->p, b->usable, b->usable, b->key), b->size);
	givers[b->give].give(b);
}

/* Which of the ways that the kind allows; `n` counts on without end. */
static unsigned way_back(enum kind kind, size_t n)
{
	unsigned i = (unsigned)(n % T_COUNT(givers));

	while ((givers[i].takes & kind) == 0)
		i = (i + 1) % T_COUNT(givers);
	return i;
}

/* Full batches go to a thread that lives as long as the case. */
enum { BATCH = 200 };

static struct {
	struct block block[BATCH];
	size_t count;
	bool last;
	sem_t full, empty;
	pthread_t thread;
} hand;

static void *take_batches(void *unused)
{
	bool last = false;

	while (!last) {
		sem_wait(&hand.full);
		for (size_t i = 0; i < hand.count; i++)
			give_back(&hand.block[i]);
		hand.count = 0;
		last = hand.last;
		sem_post(&hand.empty);
	}
	return unused;
}

static void start_hand(void)
{
	t_need(sem_init(&hand.full, 0, 0) == 0 && sem_init(&hand.empty, 0, 0) == 0);
	hand.last = false;
	hand.thread = t_thread(take_batches, NULL);
}

static void hand_over(const struct block *b)
{
	hand.block[hand.count++] = *b;
	if (hand.count < BATCH)
		return;
	sem_post(&hand.full);
	sem_wait(&hand.empty);
}

static void stop_hand(void)
{
	hand.last = true;
	sem_post(&hand.full);
	t_join(hand.thread);
}

/* The newest blocks of this thread, which gives the older ones back. */
enum { WINDOW = 64 };

static struct {
	struct block block[WINDOW];
	size_t next;
} window;

static void keep(const struct block *b)
{
	struct block *place = &window.block[window.next++ % WINDOW];

	give_back(place);
	*place = *b;
}

static void keep_none(void)
{
	for (size_t i = 0; i < WINDOW; i++) {
		give_back(&window.block[i]);
		window.block[i].p = NULL;
	}
}

/* ---- sizes ------------------------------------------------------------------------------------ */

static size_t around(size_t *out, size_t edge)
{
	out[0] = edge - 1;
	out[1] = edge;
	out[2] = edge + 1;
	return 3;
}

/* 0; then one byte less than each class, each class, one more; the same with units up to TOP. */
static size_t edges(size_t *out)
{
	size_t count = 0;

	out[count++] = 0;
	for (size_t n = 16; n < 1024; n += 16)
		count += around(out + count, n);
	for (size_t n = 1024; n < 256 * T_KiB; n *= 2)
		for (size_t quarter = 0; quarter < 4; quarter++)
			count += around(out + count, n + quarter * n / 4);
	for (size_t n = 256 * T_KiB; n < TOP; n += 64 * T_KiB)
		count += around(out + count, n);
	return count;
}

enum { MOST_EDGES = 400 };
static size_t edge[MOST_EDGES], edge_count, edge_step;

/* ---- cases ------------------------------------------------------------------------------------ */

static void each_pair(void (*put)(const struct block *b))
{
	size_t turn = 0;

	for (size_t e = 0; e < edge_count; e += edge_step)
		for (size_t m = 0; m < T_COUNT(makers); m++)
			for (unsigned g = 0; g < T_COUNT(givers); g++) {
				size_t alignment = (size_t)16 << (turn++ % 13);
				struct block b;

				if ((givers[g].takes & makers[m].kind) == 0)
					continue;
				b = make(&makers[m], alignment, edge[e]);
				b.give = g;
				put(&b);
			}
}

static void all_pairs_here(void)
{
	each_pair(keep);
	keep_none();
}

static void all_pairs_there(void)
{
	start_hand();
	each_pair(hand_over);
	stop_hand();
}

/* Each alignment with each edge, which the pairs above take in turn. */
static void all_alignments(void)
{
	size_t turn = 0;

	for (size_t alignment = 16; alignment <= MAX_ALIGN; alignment *= 2)
		for (size_t e = 0; e < edge_count; e += edge_step)
			for (size_t m = 0; m < T_COUNT(makers); m++) {
				struct block b;

				if (!makers[m].aligns)
					continue;
				b = make(&makers[m], alignment, edge[e]);
				b.give = way_back(makers[m].kind, turn++);
				keep(&b);
			}
	keep_none();
}

static size_t random_size(uint64_t *seed)
{
	return t_below(seed, (size_t)2 << t_below(seed, 20)) * TOP / T_MiB;
}

/* Sizes between the edges, in no order, with holes of all kinds around them. */
static void at_random(void)
{
	enum { SLOTS = 700 };
	static struct block slot[SLOTS];
	uint64_t seed = 11;

	start_hand();
	for (size_t round = 0; round < t_scale(60000, 3000); round++) {
		struct block *b = &slot[t_below(&seed, SLOTS)];
		size_t m = t_below(&seed, T_COUNT(makers));

		if (b->p != NULL && t_below(&seed, 3) == 0)
			hand_over(b);
		else
			give_back(b);
		*b = make(&makers[m], (size_t)16 << t_below(&seed, 13), random_size(&seed));
		b->give = way_back(makers[m].kind, t_random(&seed) >> 8);
	}
	for (size_t i = 0; i < SLOTS; i++)
		give_back(&slot[i]);
	stop_hand();
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(all_pairs_here),
		T_CASE(all_pairs_there),
		T_CASE(all_alignments),
		T_CASE(at_random),
	};

	edge_count = edges(edge);
	t_need(edge_count <= MOST_EDGES);
	edge_step = t_scale(1000, 0) == 1000 ? 1 : 7;
	return t_main(argc, argv, cases, T_COUNT(cases));
}

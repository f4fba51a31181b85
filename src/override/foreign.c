/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * glibc's own allocator, which goes on living below hakmem: for HAKMEM_FORCE_LIBC_ALLOC, and for
 * blocks that code bound to libc's malloc (RTLD_DEEPBIND before hakmem came, __libc_malloc) hands
 * over.
 *
 * Whether it can own an address is decided by reading, never by asking it: its free would abort, or
 * worse, believe. What is read is the chunk header, two words in front of the block:
 *
 *     chunk  ┌ prev_size ┐  +0   MMAPPED: bytes between the mapping and the chunk; else the size of
 *            │ size|flags│  +8   the chunk before, if that is free. flags: 1 the chunk before is in
 *     block  ├───────────┤ +16   use, 2 MMAPPED, 4 NON_MAIN (a thread's arena)
 *
 * and which of three places the chunk claims to be in, each with its own proof. Whatever is not
 * proved is not libc's: hakmem then prints its message and stops, where a wrong yes would have libc
 * corrupt itself. Known to be refused although libc's: chunks of the main arena outside the break
 * (after brk failed), and threads' arenas under the tunable glibc.malloc.hugetlb, whose heaps have
 * another alignment. Blocks of a second libc (dlmopen) are refused on purpose, unless MMAPPED. */
#include "override/override.h"

#include "api/api.h"

#if HK_SHARED && !HK_MINIMAL && defined(__GLIBC__)
#include <dlfcn.h>
#include <unistd.h> /* sbrk */

#include "base/check.h" /* hk_find_module */
#include "os/os.h"      /* hk_os_is_mapped */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *p);

enum {
	PREV_IN_USE = 1,
	MMAPPED = 2,
	NON_MAIN = 4,
	FLAGS = 7,
	HUGE_PAGES = 1, /* in the prev_size of a mapping, glibc 2.43 and later */
	MIN_CHUNK = 32,
	HEADER = 16,
};

/* Alignment and greatest size of a heap of a thread's arena: twice the largest mmap threshold. */
#define LIBC_HEAP_BYTES (64 * HK_MiB)

struct chunk {
	size_t prev_size;
	size_t head; /* size | flags */
};

/* The head of each heap of a thread's arena, at its LIBC_HEAP_BYTES-aligned address. */
struct heap_info {
	uintptr_t arena; /* behind the heap_info of the arena's first heap */
	uintptr_t prev;  /* the arena's heap before this one, or 0 */
	size_t size;
	size_t mprotect_size;
};

static const void *at(uintptr_t address)
{
	return (const void *)address; /* NOLINT(performance-no-int-to-ptr) */
}

static bool is_readable(uintptr_t address, size_t bytes)
{
	return hk_os_is_mapped(at(address), bytes);
}

static size_t size_of(const struct chunk *c) { return c->head & ~(size_t)FLAGS; }

/* A mapping of its own: pages from end to end, and no flag but the one. memalign leaves up to its
 * alignment in front; malloc, nothing. */
static bool is_mapping(const struct chunk *c)
{
	size_t before = c->prev_size & ~(size_t)HUGE_PAGES, page = hk_os_page();
	uintptr_t start = (uintptr_t)c - before, end = (uintptr_t)c + size_of(c);
	size_t in_page = ((uintptr_t)c + HEADER) % page;

	if ((c->head & FLAGS) != MMAPPED || before > (uintptr_t)c || start % page != 0)
		return false;
	/* glibc's own test, and its last word: it aborts if that fails. */
	if (in_page != 0 && !hk_is_pow2(in_page))
		return false;
	if (end % page == page - HEADER)
		end += HEADER; /* glibc 2.43 and later leave the header out of the size */
	if (end % page != 0)
		return false;
	return is_readable(start, page) && is_readable(end - page, page);
}

/* A chunk in use says so in the next one's header. `end`: of the memory that may be read. */
static bool next_agrees(const struct chunk *c, uintptr_t end)
{
	uintptr_t next = (uintptr_t)c + size_of(c);
	const struct chunk *n = at(next);

	if (size_of(c) > end - (uintptr_t)c || end - next < HEADER || !is_readable(next, HEADER))
		return false;
	return (n->head & PREV_IN_USE) != 0 && (n->head & MMAPPED) == 0;
}

static bool is_heap(const struct heap_info *h)
{
	uintptr_t first = hk_align_down(h->arena, LIBC_HEAP_BYTES);
	size_t page = hk_os_page();

	/* The arena lies right behind the heap_info of its first heap, which has none before it. */
	if (h->arena - first < sizeof(*h) || h->arena - first > 4 * sizeof(*h) || first == 0)
		return false;
	if ((first == (uintptr_t)h) != (h->prev == 0) || h->prev % LIBC_HEAP_BYTES != 0)
		return false;
	if (h->size % page != 0 || h->size == 0 || h->size > h->mprotect_size)
		return false;
	return h->mprotect_size <= LIBC_HEAP_BYTES && is_readable(first, page);
}

static bool is_in_thread_arena(const struct chunk *c)
{
	uintptr_t base = hk_align_down((uintptr_t)c, LIBC_HEAP_BYTES);
	const struct heap_info *h = at(base);

	if ((c->head & (MMAPPED | NON_MAIN)) != NON_MAIN || (uintptr_t)c - base < sizeof(*h))
		return false;
	if (!is_readable(base, sizeof(*h)) || !is_heap(h) || (uintptr_t)c - base >= h->size)
		return false;
	return next_agrees(c, base + h->size);
}

/* libc's main arena grows by sbrk. Where it began is nowhere to be read, but all memory between a
 * block of it and the break is mapped. Looked at once for each new lowest block: the walk over a
 * large arena is slow. */
static bool is_in_break(const struct chunk *c)
{
	static _Atomic uintptr_t lowest;
	uintptr_t known = atomic_load_explicit(&lowest, memory_order_relaxed);
	uintptr_t end = (uintptr_t)sbrk(0);

	if ((c->head & (MMAPPED | NON_MAIN)) != 0 || (uintptr_t)c >= end)
		return false;
	if ((known == 0 || (uintptr_t)c < known) && !is_readable((uintptr_t)c, end - (uintptr_t)c))
		return false;
	if (!next_agrees(c, end))
		return false;
	if (known == 0 || (uintptr_t)c < known)
		atomic_store_explicit(&lowest, (uintptr_t)c, memory_order_relaxed);
	return true;
}

/* Without ASLR the break begins where the program's .bss ends: so its variables must be told apart.
 * Last, because it takes the dynamic linker's lock with an old glibc. */
static bool is_in_object(const void *p)
{
	uintptr_t start;

	return hk_find_module(p, &start) != NULL;
}

/* A stack needs no test of its own: it is neither below the break nor behind a heap_info, and would
 * pass for a mapping only where it holds, right at the start of a page, the one word of a size that
 * ends on a page. Bounds of stacks could not be trusted either, with coroutines and sigaltstack. */
static bool may_own(const void *p)
{
	const struct chunk *c = at((uintptr_t)p - HEADER);

	if ((uintptr_t)p % HEADER != 0 || (uintptr_t)p < hk_os_page())
		return false;
	if (!is_readable((uintptr_t)c, HEADER))
		return false;
	if (size_of(c) < MIN_CHUNK || size_of(c) % HEADER != 0 || size_of(c) > PTRDIFF_MAX)
		return false;
	if (!is_mapping(c) && !is_in_thread_arena(c) && !is_in_break(c))
		return false;
	return !is_in_object(p);
}

/* libc has no __libc_ name for this one. Asked of libc itself, since the next malloc_usable_size in
 * link order may be that of yet another allocator. dlsym may allocate: from hakmem, or by
 * __libc_malloc under FORCE_LIBC_ALLOC; neither comes back here. */
static size_t usable(void *p)
{
	static void *_Atomic found;
	void *f = atomic_load_explicit(&found, memory_order_relaxed);

	if (f == NULL) {
		void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);

		f = libc != NULL ? dlsym(libc, "malloc_usable_size") : NULL;
		atomic_store_explicit(&found, f, memory_order_relaxed);
	}
	/* Every chunk but a mapping lends its neighbour's first word. */
	if (f == NULL)
		return size_of(at((uintptr_t)p - HEADER)) - HEADER;
	return ((size_t(*)(void *))f)(p);
}

static const struct hk_libc libc_table = {
	.malloc = __libc_malloc,
	.calloc = __libc_calloc,
	.realloc = __libc_realloc,
	.memalign = __libc_memalign,
	.free = __libc_free,
	.usable = usable,
	.may_own = may_own,
};

void hk_foreign_init(void) { hk_libc = &libc_table; }

#else

void hk_foreign_init(void) {}

#endif

/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * Blocks of glibc's own malloc are recognised and go back to it; anything else ends the process
 * with hakmem's message. Shared hakmem on glibc only. */
#include "ov.h"

#include <malloc.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/mman.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static const size_t sizes[] = { 0, 1, 24, 25, 100, 1000, 5000, 100000, 200000, 1000000, 50000000 };
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

/* ---- What must be taken --------------------------------------------------------------------- */

static void *check_blocks(void *unused)
{
	for (int round = 0; round < 50; round++) {
		void *keep[SIZES];

		for (int i = 0; i < SIZES; i++) {
			keep[i] = __libc_malloc(sizes[i]);
			OV_CHECK(malloc_usable_size(keep[i]) >= sizes[i]);
			memset(keep[i], 'k', sizes[i]);
		}
		for (int i = 0; i < SIZES; i++) {
			char *p = __libc_memalign((size_t)32 << round % 12, sizes[i]);

			OV_CHECK(malloc_usable_size(p) >= sizes[i]);
			free(ov_hide(p));
			p = __libc_calloc(1, sizes[i] + 1);
			p[sizes[i]] = 'c';
			p = realloc(ov_hide(p), sizes[i] * 2 + 1);
			OV_CHECK(p[sizes[i]] == 'c');
			free(ov_hide(p));
		}
		for (int i = 0; i < SIZES; i++)
			free(ov_hide(keep[(i * 7) % SIZES]));
	}
	return unused;
}

/* Several heaps of 64 MiB in one thread's arena. */
static void *check_second_heap(void *unused)
{
	enum { BLOCKS = 2000 };
	static void *block[BLOCKS];

	for (int i = 0; i < BLOCKS; i++)
		block[i] = __libc_malloc(100000);
	for (int i = 0; i < BLOCKS; i++)
		free(ov_hide(block[i]));
	return unused;
}

static void in_thread(void *(*fn)(void *))
{
	pthread_t t;

	OV_CHECK(pthread_create(&t, NULL, fn, NULL) == 0);
	pthread_join(t, NULL);
}

static void *made_by_thread[SIZES];

static void *make_and_leave(void *unused)
{
	for (int i = 0; i < SIZES; i++)
		made_by_thread[i] = __libc_malloc(sizes[i]);
	return unused;
}

/* ---- What must be refused ------------------------------------------------------------------- */

/* What a program's own header in front of its blocks can look like. */
struct lookalike {
	size_t words[8];
};

static struct lookalike in_data = { { 0, 0x41, 1, 2, 3, 4, 5, 6 } };
static struct lookalike in_bss;
static _Thread_local struct lookalike in_tls = { { 0, 0x1002, 0, 0, 0, 0, 0, 1 } };
static void free_it(void *p) { free(ov_hide(p)); }
static void realloc_it(void *p) { p = ov_hide(realloc(ov_hide(p), 100)); }
static void measure_it(void *p) { ov_hide_size(malloc_usable_size(ov_hide(p))); }

static void must_refuse(const char *what, void *p)
{
	ov_must_abort(what, free_it, p, "hakmem: free(): ");
	ov_must_abort(what, realloc_it, p, "hakmem: realloc(): ");
	ov_must_abort(what, measure_it, p, "hakmem: malloc_usable_size(): ");
}

/* Chunk headers of all kinds, in memory that is none of libc's. */
static void refuse_headers_in(const char *what, char *where)
{
	static const size_t heads[] = { 0x21, 0x31, 0x20, 0x45, 0x1002, 0x2002, 0x411, 7, 0 };
	size_t *word = (size_t *)(void *)(((uintptr_t)where + 63) & ~(uintptr_t)15);

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		for (int w = 0; w < 300; w += 2) {
			word[w] = 0;
			word[w + 1] = heads[i];
		}
		ov_must_abort(what, free_it, word + 2, "hakmem: free(): invalid pointer 0x");
	}
}

static void refuse_stack_of_main(void)
{
	char local[4096];

	memset(local, 0, sizeof(local));
	refuse_headers_in("stack", ov_hide(local));
	must_refuse("environment", (void *)((uintptr_t)getenv("PATH") & ~(uintptr_t)15));
}

static void *refuse_stack_of_thread(void *unused)
{
	char local[4096];

	memset(local, 0, sizeof(local));
	refuse_headers_in("stack of a thread", ov_hide(local));
	must_refuse("thread-local", &in_tls.words[2]);
	return unused;
}

static void refuse_objects(void)
{
	static char space[8192];

	must_refuse("data", &in_data.words[2]);
	must_refuse("bss", &in_bss.words[2]);
	refuse_headers_in("bss", space);
	must_refuse("text", (void *)((uintptr_t)refuse_objects & ~(uintptr_t)15));
	must_refuse("text of libc", (void *)((uintptr_t)printf & ~(uintptr_t)15));
	must_refuse("vdso", (void *)(getauxval(AT_SYSINFO_EHDR) + 64));
	must_refuse("low address", (void *)16);
	must_refuse("no address", (void *)0xdead00000000);
	must_refuse("non-canonical", (void *)(UINT64_MAX - 15));
}

static void refuse_mappings(void)
{
	char *map = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *wall = mmap(NULL, 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	OV_CHECK(map != MAP_FAILED && wall != MAP_FAILED);
	must_refuse("mapping", map);
	must_refuse("mapping + 16", map + 16);
	refuse_headers_in("mapping", map + 128);
	must_refuse("no access", wall + 4096 + 16);
	must_refuse("no access, at its start", wall);
	munmap(wall, 65536);
	must_refuse("unmapped", wall + 16);
}

static void refuse_inside_of_libc_blocks(void)
{
	char *small = __libc_malloc(1000), *large = __libc_malloc(1000000);

	memset(small, 0, 1000);
	memset(large, 0, 1000000);
	must_refuse("8 bytes into libc's", small + 8);
	must_refuse("16 bytes into libc's", small + 16);
	must_refuse("512 bytes into libc's", small + 512);
	must_refuse("4096 bytes into libc's", large + 4096);
	must_refuse("the break", sbrk(0));
	must_refuse("the break - 16", (char *)sbrk(0) - 16);
	free(ov_hide(small));
	free(ov_hide(large));
}

int main(void)
{
	check_blocks(NULL);
	in_thread(check_blocks);
	in_thread(check_second_heap);
	in_thread(make_and_leave);
	for (int i = 0; i < SIZES; i++)
		free(made_by_thread[i]);
	refuse_stack_of_main();
	in_thread(refuse_stack_of_thread);
	refuse_objects();
	refuse_mappings();
	refuse_inside_of_libc_blocks();
	return 0;
}

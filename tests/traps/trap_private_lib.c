/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* A library with an allocator of its own inside, as statically linked ones are: its malloc and free are
 * hidden, and so bind here first. Blocks have a header in front, that looks like one of glibc's. The
 * trap_…_libc functions use the C library's malloc, whichever that is. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

char *trap_give_own(size_t size);
void trap_take_own(void *p);
char *trap_give_libc(size_t size);
void trap_take_libc(void *p);
char *trap_strdup(const char *text);

static struct {
	char *next, *end;
	size_t live;
} pool;

struct header {
	size_t before, head; /* as in a chunk of glibc's: size, and bit 0 */
};

static void *own_malloc(size_t size)
{
	size_t bytes = (size + sizeof(struct header) + 15) & ~(size_t)15;
	struct header *h;

	if (pool.next == NULL || (size_t)(pool.end - pool.next) < bytes) {
		size_t map = bytes + ((size_t)4 << 20);

		pool.next =
			mmap(NULL, map, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (pool.next == MAP_FAILED)
			return NULL;
		pool.end = pool.next + map;
	}
	h = (struct header *)(void *)pool.next;
	pool.next += bytes;
	h->head = bytes | 1;
	pool.live++;
	return h + 1;
}

static void own_free(void *p)
{
	if (p != NULL)
		pool.live--;
}

char *trap_give_own(size_t size) { return own_malloc(size); }
void trap_take_own(void *p) { own_free(p); }
char *trap_give_libc(size_t size) { return malloc(size); }
void trap_take_libc(void *p) { free(p); }
char *trap_strdup(const char *text) { return strdup(text); }

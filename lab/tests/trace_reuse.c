/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* An allocator in which a block that is given back may at once be another thread's, before free is
 * even back: a recorder that numbers a free too late gets blocks mixed up on it. Only for blocks of
 * SMALL to LARGE bytes; libc has the others. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>

enum {
	SMALL = 5000,
	LARGE = 16384,
	BLOCKS = 512,
	WAIT_EVERY = 256, /* frees; a yield on a busy machine takes long */
};

#define NEXT(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *p, size_t size);
void free(void *p);

static _Alignas(64) char memory[BLOCKS][LARGE];
static void *list;
static int fresh, given;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *take(void)
{
	void *p;

	pthread_mutex_lock(&lock);
	p = list;
	if (p)
		list = *(void **)p;
	else
		p = memory[fresh++];
	pthread_mutex_unlock(&lock);
	return p;
}

static void give(void *p)
{
	int wait;

	pthread_mutex_lock(&lock);
	*(void **)p = list;
	list = p;
	wait = ++given % WAIT_EVERY == 0;
	pthread_mutex_unlock(&lock);
	if (wait)
		sched_yield();
}

static int is_mine(const void *p)
{
	return (const char *)p >= memory[0] && (const char *)p < memory[BLOCKS];
}

void *malloc(size_t size) { return size >= SMALL && size <= LARGE ? take() : NEXT(malloc)(size); }

void *calloc(size_t count, size_t size)
{
	if (count * size < SMALL || count * size > LARGE)
		return NEXT(calloc)(count, size);
	return memset(take(), 0, count * size);
}

void *realloc(void *old, size_t size)
{
	void *p;

	if (!is_mine(old))
		return NEXT(realloc)(old, size);
	p = malloc(size);
	memcpy(p, old, SMALL);
	give(old);
	return p;
}

void free(void *p)
{
	if (is_mine(p))
		give(p);
	else
		NEXT(free)(p);
}

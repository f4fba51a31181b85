/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* What test_trace.py records: each mode makes calls of which the test knows the number. All blocks
 * of its own have at least OWN bytes, so that libc's can be told apart. */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OWN = 5000, THREADS = 3, ROUNDS = 8000, RING = 64 };

/* Counts, of all threads. */
static atomic_ulong mallocs, callocs, reallocs, frees, crossings;

static void *early;

__attribute__((constructor(101))) static void begin(void) { early = malloc(OWN + 101); }

static void tell(void)
{
	char text[200];
	int length = snprintf(text, sizeof(text),
			      "malloc=%lu calloc=%lu realloc=%lu free=%lu "
			      "crossing=%lu\n",
			      mallocs, callocs, reallocs, frees, crossings);

	if (write(STDOUT_FILENO, text, (size_t)length) < 0)
		_exit(1);
}

/* ---- Threads that free each other's blocks --------------------------------------------------- */

struct cell {
	atomic_uintptr_t block; /* its maker is in the lowest bits */
};

static struct cell ring[RING];
static pthread_barrier_t step; /* in step, or one may be done before another begins */

static void *mix(void *arg)
{
	uintptr_t me = (uintptr_t)arg;
	uint32_t random = (uint32_t)me * 2654435761u + 1;

	for (int i = 0; i < ROUNDS; i++) {
		uintptr_t block, old;

		if (i % 256 == 0)
			pthread_barrier_wait(&step);
		random = random * 1664525 + 1013904223;
		if (i % 7 == 0) {
			block = (uintptr_t)calloc(2, OWN / 2 + random % 1000);
			atomic_fetch_add(&callocs, 1);
		} else {
			block = (uintptr_t)malloc(OWN + random % 3000);
			atomic_fetch_add(&mallocs, 1);
		}
		if (i % 5 == 0) {
			block = (uintptr_t)realloc((void *)block, OWN + random % 9000);
			atomic_fetch_add(&reallocs, 1);
		}
		old = atomic_exchange(&ring[(random >> 8) % RING].block, block | me);
		if (!old)
			continue;
		free((void *)(old & ~(uintptr_t)7));
		atomic_fetch_add(&frees, 1);
		atomic_fetch_add(&crossings, (old & 7) != me);
	}
	return NULL;
}

static void threads(void)
{
	pthread_t thread[THREADS];

	pthread_barrier_init(&step, NULL, THREADS);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, mix, (void *)(i + 1));
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	tell();
}

/* ---- A thousand threads, one after the other, with a destructor that frees ------------------- */

static pthread_key_t key;

static void *short_life(void *arg)
{
	pthread_setspecific(key, malloc(OWN + 1));
	atomic_fetch_add(&mallocs, 1);
	return arg;
}

static void churn(void)
{
	pthread_key_create(&key, free);
	for (int i = 0; i < 1000; i++) {
		pthread_t thread;

		pthread_create(&thread, NULL, short_life, NULL);
		pthread_join(thread, NULL);
		atomic_fetch_add(&frees, 1);
	}
	tell();
}

/* ---- One thread ------------------------------------------------------------------------------ */

static void kinds(void)
{
	void *p = malloc(OWN), *q = calloc(3, OWN), *aligned = NULL;

	p = realloc(p, 100000);
	q = reallocarray(q, 2, OWN);
	if (posix_memalign(&aligned, 4096, OWN + 1))
		_exit(1);
	free(aligned);
	free(aligned_alloc(256, OWN + 2));
	free(memalign(48, OWN + 3)); /* glibc rounds up to 64 */
	free(valloc(OWN + 4));
	free(pvalloc(OWN + 5));
	free(NULL);
	if (realloc(p, SIZE_MAX / 4)) /* fails, and keeps the block */
		_exit(1);
	if (malloc(PTRDIFF_MAX))
		_exit(1);
	free(p);
	q = realloc(q, 0);
	p = realloc(NULL, OWN + 6);
	free(p);
}

static void forks(void)
{
	void *before = malloc(OWN);
	pid_t child = fork();
	int status;

	if (child == 0) {
		for (int i = 0; i < 1000; i++)
			before = realloc(before, OWN + 7 + (size_t)i);
		free(before);
		_exit(0);
	}
	if (waitpid(child, &status, 0) != child || status != 0)
		_exit(1);
	free(before);
	child = vfork();
	if (child == 0) {
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	waitpid(child, NULL, 0);
	free(malloc(OWN + 1));
}

static void endless(void)
{
	for (;;)
		free(malloc(OWN));
}

static void handler(int number)
{
	(void)number;
	kill(getpid(), SIGKILL);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	free(early);
	if (strcmp(mode, "threads") == 0)
		threads();
	if (strcmp(mode, "churn") == 0)
		churn();
	if (strcmp(mode, "kinds") == 0)
		kinds();
	if (strcmp(mode, "forks") == 0)
		forks();
	if (strcmp(mode, "_exit") == 0) {
		free(malloc(OWN + 1));
		_exit(0);
	}
	if (strcmp(mode, "kill") == 0) {
		signal(SIGALRM, handler);
		free(malloc(OWN + 1));
		raise(SIGALRM);
	}
	if (strcmp(mode, "endless") == 0) {
		signal(SIGALRM, handler);
		alarm(2);
		endless();
	}
	if (strcmp(mode, "exec") == 0) {
		free(malloc(OWN + 1));
		execl("/proc/self/exe", "again", "_exit", NULL);
	}
	return 0;
}

/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * fork while other threads allocate: each child can allocate and free, and frees blocks of its
 * parent. atfork handlers of the program, registered after hakmem's, may allocate too. */
#include "ov.h"

#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 3, FORKS = 100, SLOTS = 64 };

static atomic_bool stop;

static void *churn(void *seed)
{
	void *slot[SLOTS] = { NULL };
	unsigned r = (unsigned)(uintptr_t)seed;

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		r = r * 1103515245u + 12345u;
		free(slot[r >> 8 & (SLOTS - 1)]);
		slot[r >> 8 & (SLOTS - 1)] = malloc(r >> 16 & 4095);
	}
	for (int i = 0; i < SLOTS; i++)
		free(slot[i]);
	return NULL;
}

static void allocate(void) { free(ov_hide(malloc(50000))); }

static void live_as_child(void *inherited)
{
	alarm(20); /* a lock left locked shows as SIGALRM */
	free(inherited);
	for (int i = 1; i < 2000; i++) {
		void *p = malloc((size_t)i * 7);

		free(ov_hide(realloc(p, (size_t)i * 11)));
	}
	_exit(0);
}

int main(void)
{
	pthread_t thread[THREADS];

	OV_CHECK(pthread_atfork(allocate, allocate, allocate) == 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		OV_CHECK(pthread_create(&thread[i], NULL, churn, (void *)(i + 1)) == 0);
	for (int i = 0; i < FORKS; i++) {
		void *block = malloc(300);
		int status = -1;
		pid_t child = fork();

		OV_CHECK(child >= 0);
		if (child == 0)
			live_as_child(block);
		free(block);
		OV_CHECK(waitpid(child, &status, 0) == child);
		if (status != 0)
			OV_FAIL("child %d ended with wait status %d", i, status);
	}
	atomic_store(&stop, 1);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	return 0;
}

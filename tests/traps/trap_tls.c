/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* A thread's end: destructors of thread-specific data and of thread_local objects that allocate again,
 * the loader's own free of a library's thread-local storage after them, and libraries whose destructors
 * free, unloaded here or by another thread. Nothing is lost. Argument: the library of trap_tls_lib.c */
#include <dirent.h>
#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>

#include "door.h"

int __cxa_thread_atexit_impl(void (*fn)(void *), void *arg, void *dso);
extern void *__dso_handle;

#define THREADS 100u
#define ROUNDS  3 /* of PTHREAD_DESTRUCTOR_ITERATIONS, which is 4 */

static const char *path;
static pthread_key_t key[2];
static _Atomic unsigned destroyed;

struct round {
	int number;
	char text[3000];
};

static void *in_order(void *p)
{
	t_need(p != NULL);
	return p;
}

static void again(void *arg)
{
	struct round *r = arg;
	int number = r->number;

	T_FREE(in_order(T_MALLOC(100)));
	T_FREE(r);
	atomic_fetch_add(&destroyed, 1);
	if (number == ROUNDS)
		return;
	r = in_order(T_CALLOC(1, sizeof(*r)));
	r->number = number + 1;
	t_need(pthread_setspecific(key[number % 2], r) == 0);
}

static void at_thread_exit(void *arg)
{
	T_FREE(arg);
	for (size_t n = 16; n < 600000; n *= 3)
		T_FREE(in_order(T_MALLOC(n)));
	atomic_fetch_add(&destroyed, 1);
}

static void *worker(void *library)
{
	char *(*local)(void) = (char *(*)(void))dlsym(library, "trap_tls_local");
	struct round *r = in_order(T_CALLOC(1, sizeof(*r)));

	t_need(pthread_setspecific(key[0], r) == 0);
	t_need(__cxa_thread_atexit_impl(at_thread_exit, in_order(T_MALLOC(77)), &__dso_handle) ==
	       0);
	/* dynamic thread-local storage: allocated here by the loader, and freed when all is over */
	memset(local(), 1, 20000);
	return NULL;
}

static void storage_of_threads(void)
{
	void *library = dlopen(path, RTLD_NOW);
	struct hak_stats s;
	size_t live = 0;

	t_need(library != NULL);
	for (unsigned round = 0; round < 3; round++) {
		pthread_t thread[THREADS];

		for (unsigned i = 0; i < THREADS; i++)
			thread[i] = t_thread(worker, library);
		for (unsigned i = 0; i < THREADS; i++)
			t_join(thread[i]);
		if (round == 0)
			live = t_live();
	}
	t_equal(atomic_load(&destroyed), 3 * THREADS * (ROUNDS + 2));
	t_check_at(t_live() <= live + 256 * T_KiB, t_live() - live);
	T_STATS_GET(&s);
	t_equal(s.heaps_running, 1);
	t_equal(dlclose(library), 0);
}

static unsigned count_tasks(void)
{
	unsigned n = 0;
	DIR *tasks = opendir("/proc/self/task");

	t_need(tasks != NULL);
	while (readdir(tasks) != NULL)
		n++;
	closedir(tasks);
	return n - 2; /* . and .. */
}

/* Detached, on stacks of the program's: so glibc frees their thread-local storage in the dying threads
 * themselves, when all destructors have run. */
static void storage_freed_by_the_dying(void)
{
	static char stack[THREADS][128 * 1024] __attribute__((aligned(4096)));
	void *library = dlopen(path, RTLD_NOW);
	size_t live = t_live();
	struct hak_stats s;

	t_need(library != NULL);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_attr_t attr;
		pthread_t thread;

		t_need(pthread_attr_init(&attr) == 0);
		t_need(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0);
		t_need(pthread_attr_setstack(&attr, stack[i], sizeof(stack[i])) == 0);
		t_need(pthread_create(&thread, &attr, worker, library) == 0);
		pthread_attr_destroy(&attr);
	}
	while (count_tasks() > 1)
		t_sleep_ms(5);
	T_STATS_GET(&s);
	t_equal(s.heaps_running, 1); /* the last free has not made a heap that nobody parks */
	t_check_at(t_live() <= live + 256 * T_KiB, t_live() - live);
	t_equal(dlclose(library), 0);
}

static void *unload(void *library)
{
	t_equal(dlclose(library), 0);
	return NULL;
}

/* What the library allocated in its constructor, its destructor frees. */
static void unloaded_libraries(void)
{
	size_t live = 0;

	for (unsigned i = 0; i < 60; i++) {
		void *library = dlopen(path, RTLD_NOW);
		void *(*stocked)(void);

		t_need(library != NULL);
		stocked = (void *(*)(void))dlsym(library, "trap_tls_stocked");
		t_need(stocked != NULL && stocked() != NULL);
		if (i % 2 == 0)
			unload(library);
		else
			t_join(t_thread(unload, library));
		t_check(dlopen(path, RTLD_NOW | RTLD_NOLOAD) == NULL); /* really gone */
		if (i == 10)
			live = t_live();
	}
	t_check_at(t_live() <= live + 64 * T_KiB, t_live() - live);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = { T_CASE(storage_of_threads),
					       T_CASE(storage_freed_by_the_dying),
					       T_CASE(unloaded_libraries) };

	t_need(argc > 1);
	path = argv[1];
	for (unsigned i = 0; i < 2; i++)
		t_need(pthread_key_create(&key[i], again) == 0);
	return t_main(1, argv, cases, T_COUNT(cases));
}

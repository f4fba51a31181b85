/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* thread: a function runs once at the end of each thread that asked, with its argument; and threads of
 * hakmem's own. */
#include "os/thread.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>

#include "unit.h"

#define THREADS 16

static _Atomic unsigned ended[THREADS];

static void note_end(void *arg) { atomic_fetch_add(&ended[(uintptr_t)arg - 1], 1); }

static void *ask(void *arg)
{
	t_check(hk_thread_at_exit(note_end, arg));
	t_equal(atomic_load(&ended[(uintptr_t)arg - 1]), 0);
	return NULL;
}

static void *ask_twice(void *arg)
{
	ask(arg);
	return ask(arg);
}

static void *ask_not(void *arg) { return arg; }

static void *ask_and_leave(void *arg)
{
	ask(arg);
	pthread_exit(NULL);
}

static void runs_once_a_thread(void)
{
	static void *(*const how[])(void *) = { ask, ask_twice, ask_and_leave, ask_not };
	pthread_t thread[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		thread[i] = t_thread(how[i % 4], (void *)(i + 1));
	for (unsigned i = 0; i < THREADS; i++)
		t_join(thread[i]);
	for (unsigned i = 0; i < THREADS; i++)
		t_check_at(atomic_load(&ended[i]) == (i % 4 != 3), i);
}

/* Every key is taken: false, now and later, without harm. */
static void no_keys(void)
{
	pthread_key_t key;

	for (unsigned i = 0; i <= PTHREAD_KEYS_MAX && pthread_key_create(&key, NULL) == 0; i++)
		;
	t_check(!hk_thread_at_exit(note_end, (void *)1));
	t_equal(pthread_key_delete(key), 0);
	t_check(!hk_thread_at_exit(note_end, (void *)1));
}

static _Atomic unsigned helpers;
static sigset_t blocked;

static void *help(void *arg)
{
	t_check(arg == NULL);
	pthread_sigmask(SIG_BLOCK, NULL, &blocked);
	atomic_fetch_add(&helpers, 1);
	return NULL;
}

/* A thread of hakmem's own runs no handler of the program. */
static void starts_threads(void)
{
	sigset_t mine;

	for (unsigned i = 1; i <= 10; i++) {
		t_check(hk_thread_start(help));
		for (unsigned ms = 0; ms < 5000 && atomic_load(&helpers) != i; ms++)
			t_sleep_ms(1);
		t_equal(atomic_load(&helpers), i);
		t_check(sigismember(&blocked, SIGUSR1) && sigismember(&blocked, SIGALRM));
	}
	pthread_sigmask(SIG_BLOCK, NULL, &mine);
	t_check(!sigismember(&mine, SIGUSR1)); /* and the caller's mask is as it was */
}

U_MAIN(T_CASE(runs_once_a_thread), T_CASE(no_keys), T_CASE(starts_threads))

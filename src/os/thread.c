/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "os/thread.h"

#include <pthread.h>
#include <signal.h>

#include "os/lock.h"

enum { KEY_NONE, KEY_MADE, KEY_FAILED };

static struct hk_lock key_lock = HK_LOCK_INIT(HK_RANK_META);
static _Atomic int key_state HK_NEAR;
static pthread_key_t key HK_NEAR;

static bool make_key(void (*fn)(void *arg))
{
	int state;

	hk_lock_take(&key_lock);
	state = atomic_load_explicit(&key_state, memory_order_relaxed);
	if (state == KEY_NONE) {
		state = pthread_key_create(&key, fn) == 0 ? KEY_MADE : KEY_FAILED;
		atomic_store_explicit(&key_state, state, memory_order_release);
	}
	hk_lock_drop(&key_lock);
	return state == KEY_MADE;
}

bool hk_thread_at_exit(void (*fn)(void *arg), void *arg)
{
	int state = atomic_load_explicit(&key_state, memory_order_acquire);

	if (state == KEY_NONE ? !make_key(fn) : state == KEY_FAILED)
		return false;
	return pthread_setspecific(key, arg) == 0;
}

bool hk_thread_start(void *(*fn)(void *arg))
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;
	bool started;

	if (pthread_attr_init(&attr) != 0)
		return false;
	sigfillset(&all);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 128 * HK_KiB);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	started = pthread_create(&thread, &attr, fn, NULL) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return started;
}

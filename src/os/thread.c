/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "os/thread.h"

#include <pthread.h>

#include "os/lock.h"

enum { KEY_NONE, KEY_MADE, KEY_FAILED };

static struct hk_lock key_lock = HK_LOCK_INIT(HK_RANK_META);
static _Atomic int key_state;
static pthread_key_t key;

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

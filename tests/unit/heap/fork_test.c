/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* heap: the child of a fork: locks are free, heaps of threads that are gone are parked, and what these
 * had in bins, ways and BigCaches comes home, if it is whole. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/options.h"
#include "heap_ops.h"

#define COUNT 600

static char *block[COUNT], *mine[COUNT];
static struct hk_heap *theirs;
static _Atomic bool ready, done;

static void *work(void *arg)
{
	theirs = hk_heap_here();
	for (unsigned i = 0; i < COUNT; i++) {
		block[i] = h_malloc(64);
		t_fill(block[i], 64, i);
	}
	for (unsigned i = 0; i < 200; i++)
		h_free(block[i]); /* into bins */
	for (unsigned i = 0; i < 20; i++)
		h_free(mine[i]); /* into a way */
	h_free(h_malloc(5000));
	atomic_store(&ready, true);
	while (!atomic_load(&done) && arg != NULL)
		t_sleep_ms(1);
	return NULL;
}

/* Bytes in blocks that the program has, as far as the accounts can tell: what lies in the bins of the
 * calling thread counts as out. */
static size_t live_now(void)
{
	const struct hk_heap *h = hk_front.heap;
	size_t cached = h->bigcache.units * HK_UNIT_BYTES;

	for (unsigned bin = 1; bin < HK_BINS; bin++)
		cached += h_count(&h->face.bin[bin]) * hk_class_size(bin);
	h_say_all();
	return hk_release_live() - cached;
}

static void thaw_all(void)
{
	for (uint32_t id = HK_FIRST_ID; id < hk_heap_ids(); id++) {
		struct hk_heap *h = hk_heap_by_id(id);

		hk_lock_take(&h->lock);
		hk_heap_thaw(h);
		hk_lock_drop(&h->lock);
	}
}

static void check_child(void)
{
	uint32_t ids = hk_heap_ids();

	t_equal(hk_heaps_running(), 1);
	t_equal(hk_heaps_parked(), 1);
	t_equal(atomic_load(&theirs->state), HK_HEAP_PARKED);
	t_check(theirs->front == NULL && theirs->frozen);
	h_check();
	t_check(live_now() > (size_t)2 * (COUNT - 200) * 64); /* bins and ways are not empty */
	t_check(hk_mail_help(theirs) != 0);
	t_check(!theirs->frozen && theirs->granted == 0);
	h_check();
	t_equal(live_now(), ((COUNT - 200) + (COUNT - 20)) * 64); /* nothing is lost */
	for (unsigned i = 200; i < COUNT; i++) {
		t_check_at(t_holds(block[i], 64, 64, i), i);
		h_free(block[i]);
	}
	for (unsigned i = 20; i < COUNT; i++)
		h_free(mine[i]);
	h_check();
	atomic_store(&done, false);
	atomic_store(&ready, false);
	for (unsigned i = 0; i < COUNT; i++)
		mine[i] = h_malloc(64);
	if (!T_SANITIZED) {              /* ThreadSanitizer allows no thread here */
		h_in_thread(work, NULL); /* takes the parked heap */
		t_check(theirs != hk_heap_here());
	}
	t_equal(hk_heap_ids(), ids);
	h_check();
	hk_heap_lock_all(); /* every lock is free */
	hk_heap_unlock_all();
	hk_release_all();
	h_check();
}

static void fork_with_a_running_thread(void)
{
	pthread_t thread;
	int status = 1;
	pid_t pid;

	for (unsigned i = 0; i < COUNT; i++)
		mine[i] = h_malloc(64);
	thread = t_thread(work, (void *)1);
	while (!atomic_load(&ready))
		t_sleep_ms(1);
	hk_heap_lock_all();
	pid = fork();
	t_need(pid >= 0);
	if (pid == 0) {
		hk_heap_reset_all();
		check_child();
		_exit(t_failures() != 0);
	}
	hk_heap_unlock_all();
	t_need(waitpid(pid, &status, 0) == pid);
	t_equal(status, 0);
	t_equal(hk_heaps_running(), 2);
	t_check(h_count(&theirs->face.bin[hk_class_bin(64)]) != 0);
	atomic_store(&done, true);
	t_join(thread);
	h_check();
}

/* Forks at any instruction of threads that allocate. The child knows of every block but for what a
 * thread has in its hand: one that it is about to free, or has just got. */
#define OWN      100
#define HAND_MAX 4096

static _Atomic(char *) owned[2][OWN], passed;

static void *churn(void *arg)
{
	uint64_t seed = (uintptr_t)arg + 1;
	_Atomic(char *) *own = owned[(uintptr_t)arg];

	while (!atomic_load(&done)) {
		size_t i = t_below(&seed, OWN);
		char *p = atomic_exchange(&own[i], NULL);

		if (i < 10) /* through the other's hands */
			p = atomic_exchange(&passed, p);
		if (p != NULL)
			h_free(p);
		p = h_malloc(16 << t_below(&seed, 9));
		t_check(p != NULL);
		atomic_store(&own[i], p);
	}
	return NULL;
}

static size_t bytes_at(char *p) { return p == NULL ? 0 : hk_slab_block_bytes(h_slab(p)); }

static void check_nothing_is_lost(void)
{
	size_t known = bytes_at(passed), live;

	thaw_all();
	h_check();
	for (unsigned i = 0; i < 2 * OWN; i++)
		known += bytes_at(owned[i / OWN][i % OWN]);
	live = live_now();
	t_check_at(live >= known, known - live);
	t_check_at(live <= known + 2 * HAND_MAX, live - known);
}

static void fork_at_any_moment(void)
{
	size_t forks = t_scale(300, 5);
	pthread_t thread[2];

	hk_heap_here();
	for (uintptr_t i = 0; i < 2; i++)
		thread[i] = t_thread(churn, (void *)i);
	for (size_t n = 0; n < forks; n++) {
		int status = 1;
		pid_t pid;

		h_free(h_malloc(100));
		hk_heap_lock_all();
		pid = fork();
		t_need(pid >= 0);
		if (pid == 0) {
			hk_heap_reset_all();
			h_check();
			check_nothing_is_lost();
			for (unsigned i = 0; i < 300; i++)
				mine[i] = h_malloc(16u << i % 9);
			for (unsigned i = 0; i < 300; i++)
				h_free(mine[i]);
			h_check();
			_exit(t_failures() != 0);
		}
		hk_heap_unlock_all();
		t_need(waitpid(pid, &status, 0) == pid);
		t_check_at(status == 0, n);
	}
	atomic_store(&done, true);
	for (unsigned i = 0; i < 2; i++)
		t_join(thread[i]);
	for (unsigned i = 0; i < 2 * OWN; i++)
		if (owned[i / OWN][i % OWN] != NULL)
			h_free(owned[i / OWN][i % OWN]);
	h_check();
}

U_MAIN(T_CASE(fork_with_a_running_thread), T_CASE(fork_at_any_moment))

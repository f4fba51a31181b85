/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "api/limit.h"

#include "api/api.h"
#include "os/lock.h"

#define LEAST_STEP HK_MiB

static struct {
	struct hk_lock lock;
	hak_limit_fn fn; /* [lock] */
	void *arg;       /* [lock] */
	_Atomic bool inside;
	_Atomic size_t quiet; /* not again before so much is committed [who is inside] */
} state = { .lock = HK_LOCK_INIT(HK_RANK_META) };

void hak_limit_callback(hak_limit_fn fn, void *arg)
{
	hk_lock_take(&state.lock);
	state.fn = fn;
	state.arg = arg;
	hk_lock_drop(&state.lock);
}

static void tell(size_t committed, size_t limit)
{
	hak_limit_fn fn;
	void *arg;

	hk_lock_take(&state.lock);
	fn = state.fn;
	arg = state.arg;
	hk_lock_drop(&state.lock);
	if (fn != NULL)
		fn(committed, limit, arg);
}

void hk_limit_check_now(void)
{
	size_t limit = hk_release_limit(), committed = hk_release_committed();
	bool was_within = atomic_load_explicit(&hk_release_was_within, memory_order_relaxed);
	size_t quiet = atomic_load_explicit(&state.quiet, memory_order_relaxed);

	if (committed <= limit)
		atomic_store_explicit(&hk_release_was_within, true, memory_order_relaxed);
	if (committed <= limit || (committed < quiet && !was_within) ||
	    atomic_exchange_explicit(&state.inside, true, memory_order_acquire))
		return;
	atomic_store_explicit(&hk_release_was_within, false, memory_order_relaxed);
	hk_release_all();
	committed = hk_release_committed();
	if (committed <= limit)
		atomic_store_explicit(&hk_release_was_within, true, memory_order_relaxed);
	/* a quarantine that was full may have been all that came on top */
	if (committed > limit && (committed >= quiet || was_within)) {
		tell(committed, limit);
		quiet = hk_release_committed() + hk_max(limit / 32, LEAST_STEP);
		atomic_store_explicit(&state.quiet, quiet, memory_order_relaxed);
	}
	atomic_store_explicit(&state.inside, false, memory_order_release);
}

void hk_limit_lock(void) { hk_lock_take_beside(&state.lock); }
void hk_limit_unlock(void) { hk_lock_drop(&state.lock); }

void hk_limit_reset(void)
{
	hk_lock_reset(&state.lock);
	atomic_store_explicit(&state.inside, false, memory_order_relaxed);
}

/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "superslab/squeeze.h"

#include "base/options.h"
#include "superslab/container.h"
#include "superslab/release.h"

#define LEAST_BYTES (64 * HK_MiB)
#define LOOK_NS     2000000000ull
/* Hundredths of a percent. */
#define PRESSED 1000u
#define CALM    100u

static struct {
	_Atomic int state;      /* enum hk_squeeze */
	_Atomic uint32_t times; /* it has begun */
	_Atomic bool looking;   /* somebody has what follows; acquire / release */
	uint64_t looked_at;     /* coarse ns; 0: never [who looks] */
	size_t least;           /* committed, since then [who looks] */
} squeeze;

enum hk_squeeze hk_squeeze_state(void)
{
	return (enum hk_squeeze)atomic_load_explicit(&squeeze.state, memory_order_relaxed);
}

uint32_t hk_squeeze_times(void)
{
	return atomic_load_explicit(&squeeze.times, memory_order_relaxed);
}

static void become(enum hk_squeeze state)
{
	enum hk_squeeze before = hk_squeeze_state();

	if (state == before)
		return;
	atomic_store_explicit(&squeeze.state, (int)state, memory_order_relaxed);
	if (before == HK_SQUEEZE_NO)
		atomic_fetch_add_explicit(&squeeze.times, 1, memory_order_relaxed);
	hk_options_squeeze(state != HK_SQUEEZE_NO);
	hk_release_forget_earned();
	hk_release_check(0);
}

/* What there is more of than a while ago is a reason to look. */
static bool is_due(uint64_t now, size_t committed)
{
	bool grows =
		committed > LEAST_BYTES && (squeeze.looked_at == 0 || committed > squeeze.least);

	squeeze.least = hk_min(squeeze.least, committed);
	return (grows || hk_squeeze_state() != HK_SQUEEZE_NO) &&
	       (squeeze.looked_at == 0 || now - squeeze.looked_at >= LOOK_NS);
}

static void look(size_t committed)
{
	struct hk_container c = hk_container_look();
	size_t room = c.limit - hk_min(c.limit, c.used);
	bool squeezed = hk_squeeze_state() != HK_SQUEEZE_NO;

	atomic_store_explicit(&hk_release_ceiling, c.limit != 0 ? committed + room : 0,
			      memory_order_relaxed);
	if (c.limit != 0 && room < c.limit / (squeezed ? 4 : 8))
		become(HK_SQUEEZE_LIMIT);
	else if (c.stalled >= (squeezed ? CALM : PRESSED))
		become(HK_SQUEEZE_PRESSURE);
	else
		become(HK_SQUEEZE_NO);
}

static void forget(void)
{
	atomic_store_explicit(&hk_release_ceiling, 0, memory_order_relaxed);
	squeeze.looked_at = 0;
	become(HK_SQUEEZE_NO);
}

void hk_squeeze_look(uint64_t now)
{
	size_t committed = hk_release_committed();

	if (atomic_exchange_explicit(&squeeze.looking, true, memory_order_acquire))
		return;
	if (!hk_option(HK_OPT_CONTAINER)) {
		forget();
	} else if (is_due(now, committed)) {
		squeeze.looked_at = now;
		squeeze.least = committed;
		look(committed);
	}
	atomic_store_explicit(&squeeze.looking, false, memory_order_release);
}

void hk_squeeze_reset(void)
{
	atomic_store_explicit(&squeeze.looking, false, memory_order_relaxed);
}

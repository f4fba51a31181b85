/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include <errno.h>

#include "api/api.h"
#include "api/mode.h"
#include "base/options.h"
#include "heap/heap.h"
#include "slab/huge.h"
#include "superslab/release.h"

size_t hak_trim(void)
{
	struct hk_heap *h = hk_heap_here();
	size_t sum;

	hk_lock_take(&h->lock);
	if (!hk_heap_is_direct(h))
		hk_heap_empty(h);
	hk_mail_drain(h);
	hk_heap_shed(h);
	hk_lock_drop(&h->lock);
	sum = hk_huge_trim();
	sum += hk_release_all();
	return sum + hk_heap_trim_slabs();
}

int hak_option_set(const char *name, const char *value)
{
	int err = hk_option_set(name, value);

	if (err == 0) {
		hk_mode_choose();
		hk_background_choose();
		hk_release_check(0);
	}
	return err;
}

int hak_option_get(const char *name, char *buf, size_t size)
{
	return hk_option_get(name, buf, size);
}

void hak_option_each(hak_option_fn fn, void *arg)
{
	static const char *const source[] = { "profile", "environment", "program" };

	for (unsigned id = 0; id < HK_OPTIONS; id++) {
		struct hk_option_info info = hk_option_describe((enum hk_option_id)id);
		char value[256];

		hk_option_get(info.name, value, sizeof(value));
		fn(info.name, value, source[info.source], info.sentence, arg);
	}
}

#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)

const char *hak_version(void)
{
	return TEXT(HAKMEM_VERSION_MAJOR) "." TEXT(HAKMEM_VERSION_MINOR) "." TEXT(
		HAKMEM_VERSION_PATCH);
}

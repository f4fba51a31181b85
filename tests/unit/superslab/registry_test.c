/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* registry: a hash table against a plain list, with removals in every order, and tables that can't
 * grow. */
#include "superslab/registry.h"

#include <string.h>

#include "fake_os.h"
#include "unit.h"

#define MOST 4096

static struct hk_huge model[MOST];
static size_t count;

static bool is_free(uintptr_t address)
{
	for (size_t i = 0; i < count; i++)
		if (model[i].address == address)
			return false;
	return true;
}

static bool insert(uintptr_t address, size_t bytes)
{
	struct hk_huge e = { address, bytes, 0, HK_HUGE_LIVE, false, false, false };

	if (!hk_registry_insert(&e))
		return false;
	model[count++] = e;
	return true;
}

static void remove_at(size_t i, bool forget)
{
	struct hk_huge *e = hk_registry_find((void *)model[i].address);

	t_need(e != NULL);
	hk_registry_remove(e, forget);
	model[i] = model[--count];
}

static bool add_one(struct hk_huge *e, void *arg)
{
	*(size_t *)arg += 1;
	t_check(!is_free(e->address));
	return false;
}

static void rg1_check_all(void)
{
	size_t seen = 0;

	for (size_t i = 0; i < count; i++) {
		const struct hk_huge *e = hk_registry_find((void *)model[i].address);

		t_need(e != NULL);
		t_check_at(e->address == model[i].address && e->bytes == model[i].bytes, i);
	}
	t_check(hk_registry_each(add_one, &seen) == NULL);
	t_equal(seen, count);
}

static void random_operations(size_t most, unsigned steps, uint64_t seed, unsigned spread)
{
	for (unsigned i = 0; i < steps; i++) {
		uintptr_t address = 0x1000 * (1 + t_below(&seed, spread));

		if (count < most && t_below(&seed, 5) < 3 && is_free(address))
			t_check(insert(address, 4096 * (1 + i)));
		else if (count != 0 && t_below(&seed, 2) == 0)
			remove_at(t_below(&seed, count), i % 2);
		if (is_free(address))
			t_check_at(hk_registry_find((void *)address) == NULL, i);
		if (i % 64 == 0)
			rg1_check_all();
	}
	rg1_check_all();
}

static void rg1_model_grows(void)
{
	hk_registry_lock();
	random_operations(MOST, 15000, 1, 8000);
	t_check(count > 64);
	t_check(hk_fake_counts().unmap > 1); /* old tables */
	t_equal(hk_fake_mappings(), 1);
	while (count != 0)
		remove_at(0, false);
	rg1_check_all();
	hk_registry_unlock();
}

/* A table that is seven eighths full has long clusters: where backward shifts go wrong. */
static void rg1_model_crowded(void)
{
	hk_fake_fail_after(1);
	hk_registry_lock();
	for (unsigned i = 0; i < 20; i++)
		random_operations(56, 5000, i, 100 + 1000 * i);
	hk_registry_unlock();
	t_equal(hk_fake_mapped(), 0);
}

static void rg2_growth_refused(void)
{
	hk_registry_lock();
	hk_fake_fail_after(1);
	while (count < 56)
		t_need(insert(0x1000 * (count + 1), 4096));
	t_check(!insert(0x1000 * 57, 4096));
	t_check(hk_registry_find((void *)(uintptr_t)0x39000) == NULL);
	rg1_check_all();
	remove_at(7, false);
	t_check(insert(0x1000 * 57, 4096));
	hk_fake_fail_after(0);
	t_check(insert(0x1000 * 58, 4096));
	t_equal(hk_fake_mapped(), 4096); /* 128 slots */
	rg1_check_all();
	hk_registry_unlock();
}

static void graves(void)
{
	hk_registry_lock();
	for (unsigned i = 1; i <= 100; i++) {
		t_need(insert(0x100000 * i, 4096 * i));
		remove_at(0, true);
	}
	t_equal(hk_registry_was((void *)(uintptr_t)(0x100000 * 100)), 4096 * 100);
	t_equal(hk_registry_was((void *)(uintptr_t)(0x100000 * 37)), 4096 * 37);
	t_equal(hk_registry_was((void *)(uintptr_t)(0x100000 * 36)), 0); /* 64 are remembered */
	t_equal(hk_registry_was(NULL), 0);
	t_need(insert(0x100000 * 99, 8192)); /* lives again */
	t_equal(hk_registry_was((void *)(uintptr_t)(0x100000 * 99)), 0);
	remove_at(0, false);
	t_equal(hk_registry_was((void *)(uintptr_t)(0x100000 * 99)), 0);
	hk_registry_unlock();
}

static bool is_third(struct hk_huge *e, void *arg) { return e->bytes == *(size_t *)arg; }

static void around_and_each(void)
{
	size_t bytes = 3 * 4096;

	hk_registry_lock();
	for (unsigned i = 1; i <= 5; i++)
		t_need(insert(0x100000 * i, 4096 * i));
	t_equal(hk_registry_around((void *)(uintptr_t)0x300000)->bytes, bytes);
	t_equal(hk_registry_around((void *)(uintptr_t)0x302fff)->bytes, bytes);
	t_check(hk_registry_around((void *)(uintptr_t)0x303000) == NULL);
	t_check(hk_registry_around((void *)(uintptr_t)0x2fffff) == NULL);
	t_equal(hk_registry_each(is_third, &bytes)->address, 0x300000);
	bytes = 1;
	t_check(hk_registry_each(is_third, &bytes) == NULL);
	hk_registry_unlock();
}

U_MAIN(T_CASE(rg1_model_grows), T_CASE(rg1_model_crowded), T_CASE(rg2_growth_refused),
       T_CASE(graves), T_CASE(around_and_each))

/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* harden: canaries, tails of large blocks, zeros. */
#include "slab/harden.h"

#include <string.h>

#include "fake_os.h"
#include "unit.h"

static const struct hk_offence where = { "free", NULL };
static unsigned char area[4 * 4096] __attribute__((aligned(4096)));

static void verify(void *arg)
{
	(void)arg;
	hk_harden_verify(area, 100, where);
}

/* Every bit of it counts, and nothing around it. */
static void hd1_canary(void)
{
	hk_harden_init();
	hk_harden_mark(area, 100);
	t_check(u_lives(verify, NULL));
	t_check(area[100] != 0); /* a string's end is seen */
	for (unsigned i = 0; i < 8; i++)
		for (unsigned bit = 0; bit < 8; bit += 3) {
			area[100 + i] ^= (unsigned char)(1u << bit);
			t_check_at(u_dies(verify, NULL, "(100 bytes)"), i);
			area[100 + i] ^= (unsigned char)(1u << bit);
		}
	area[99] ^= 1;
	area[108] ^= 1;
	t_check(u_lives(verify, NULL));
}

/* One block's canary fits no other, and none is all zero in its first byte. */
static void canaries_differ(void)
{
	hk_harden_init();
	for (unsigned i = 0; i + 16 < sizeof(area); i += 16) {
		hk_harden_mark(area + i, 0);
		t_check_at(area[i] != 0, i);
		for (unsigned j = 0; j < i; j += 16)
			t_check_at(memcmp(area + i, area + j, 8) != 0, i);
	}
}

static uint64_t canary(void)
{
	uint64_t word;

	hk_harden_mark(area, 0);
	memcpy(&word, area, sizeof(word));
	return word;
}

/* The secret comes from the system, and is made once. */
static void secret(void)
{
	uint64_t before = canary(), first;

	hk_fake_seed(77);
	hk_harden_init();
	first = canary();
	hk_fake_seed(78);
	hk_harden_init();
	t_equal(canary(), first);
	t_check(first != before);
}

static void say_canary(void *seed)
{
	hk_fake_seed((uintptr_t)seed);
	hk_harden_init();
	t_say("%llx", (unsigned long long)canary());
}

/* Another process has another secret, at the same address. */
static void secrets_differ(void)
{
	struct u_end a, b, again;

	u_child(say_canary, (void *)1, &a);
	u_child(say_canary, (void *)2, &b);
	u_child(say_canary, (void *)1, &again);
	t_check(strcmp(a.text, again.text) == 0);
	t_check(strcmp(a.text, b.text) != 0);
}

static void touch(void *arg) { *(volatile char *)arg = 1; }

/* Canary and guard at the end; both gone after unseal. */
static void tail(void)
{
	size_t bytes = 16 * 4096, usable = bytes - hk_harden_tail();
	struct u_end end;
	char *p = hk_os_map(bytes);

	t_equal(hk_harden_tail(), 4096 + 8);
	hk_harden_init();
	p[usable - 1] = 1;
	hk_harden_seal(p, bytes);
	hk_harden_verify(p, usable, where);
	u_child(touch, p + bytes - 4096, &end);
	t_check(end.status != 0);
	hk_harden_unseal(p, bytes);
	t_check(t_is_zero(p + usable, bytes - usable));
	t_equal(p[usable - 1], 1);
	touch(p + bytes - 4096);
	t_equal(hk_fake_counts().guard, hk_fake_counts().unguard);
}

static void tail_without_guards(void)
{
	size_t bytes = 16 * 4096;
	char *p = hk_os_map(bytes);

	hk_fake_no_guards(true);
	t_equal(hk_harden_tail(), 8);
	hk_harden_seal(p, bytes);
	hk_harden_verify(p, bytes - 8, where);
	hk_harden_unseal(p, bytes);
	t_check(t_is_zero(p, bytes));
	t_equal(hk_fake_counts().guard, 0);
}

static void zeros(void)
{
	for (size_t bytes = 8; bytes <= sizeof(area); bytes += bytes < 600 ? 8 : 1000) {
		t_check_at(hk_harden_is_zero(area, bytes), bytes);
		for (size_t at = 0; at < bytes; at += bytes < 600 ? 1 : 61) {
			area[at] = 1;
			t_check_at(!hk_harden_is_zero(area, bytes), at);
			hk_harden_clear(area, bytes);
			t_check_at(area[at] == 0, at);
		}
	}
	/* page by page, not beyond the end */
	memset(area, 7, sizeof(area));
	hk_harden_clear(area + 16, sizeof(area) - 32);
	t_check(t_is_zero(area + 16, sizeof(area) - 32));
	t_check(area[15] == 7 && area[sizeof(area) - 16] == 7);
	static unsigned char larger[9 * 4096 + 48];
	memset(larger, 7, sizeof(larger));
	hk_harden_clear(larger + 16, sizeof(larger) - 32);
	t_check(t_is_zero(larger + 16, sizeof(larger) - 32));
	t_check(larger[15] == 7 && larger[sizeof(larger) - 16] == 7);
}

U_MAIN(T_CASE(hd1_canary), T_CASE(canaries_differ), T_CASE(secret), T_CASE(secrets_differ),
       T_CASE(tail), T_CASE(tail_without_guards), T_CASE(zeros))

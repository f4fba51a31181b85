/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* os: guards of the real kernel, where it has them; random numbers. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "os/os.h"
#include "unit.h"

static void touch(void *arg) { *(volatile char *)arg = 1; }

static bool faults(char *p)
{
	struct u_end end;

	u_child(touch, p, &end);
	return WIFSIGNALED(end.status) && WTERMSIG(end.status) == SIGSEGV;
}

static void guard_and_unguard(void)
{
	size_t page = hk_os_page();
	char *p = hk_os_map(8 * page);

	if (!hk_os_has_guards())
		t_skip("no guards in this kernel");
	memset(p, 7, 8 * page);
	errno = 5;
	t_check(hk_os_guard(p + 2 * page, 3 * page));
	t_check(!faults(p + 2 * page - 1) && faults(p + 2 * page) && faults(p + 5 * page - 1));
	t_check(!faults(p + 5 * page));
	t_check(!hk_os_is_mapped(p + 2 * page, page));
	t_check(hk_os_purge(p, 8 * page)); /* a purge leaves guards */
	t_check(faults(p + 2 * page));
	p[0] = p[5 * page] = 7;
	t_check(hk_os_unguard(p, 8 * page));
	t_check(t_is_zero(p + 2 * page, 3 * page));
	t_equal(p[0], 7); /* what was not guarded is as it was */
	t_equal(p[5 * page], 7);
	t_equal(errno, 5);
}

static void random_numbers_differ(void)
{
	uint64_t word[50];

	errno = 5;
	for (unsigned i = 0; i < T_COUNT(word); i++) {
		word[i] = hk_os_random();
		for (unsigned j = 0; j < i; j++)
			t_check_at(word[i] != word[j], i);
	}
	t_equal(errno, 5);
}

U_MAIN(T_CASE(guard_and_unguard), T_CASE(random_numbers_differ))

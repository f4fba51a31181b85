/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* The fake system keeps the promises of os/os.h and its own. */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_os.h"
#include "harness.h"

static void maps_and_joins(void)
{
	size_t page = hk_os_page();
	char *p = hk_os_map(8 * page);
	bool taken = false;

	t_need(p != NULL);
	t_equal(hk_fake_mapped(), 8 * page);
	t_equal(hk_fake_mappings(), 1);
	t_check(t_aligned(p, page) && t_is_zero(p, 8 * page) && hk_fake_has(p, 8 * page));
	hk_os_unmap(p + 2 * page, 2 * page);
	t_equal(hk_fake_mappings(), 2);
	t_check(!hk_fake_has(p + 2 * page, 1) && !hk_os_is_mapped(p + page, 2 * page));
	t_equal(hk_fake_mapping(1).start, (uintptr_t)p + 4 * page);
	t_check(hk_os_map_at(p + page, page, &taken) == NULL && taken);
	taken = true;
	t_check(hk_os_map_at(p + 2 * page, 2 * page, &taken) == p + 2 * page && !taken);
	t_equal(hk_fake_mappings(), 1);
	hk_os_unmap(p, 8 * page);
	t_equal(hk_fake_mapped(), 0);
	t_equal(hk_fake_peak(), 8 * page);
}

static void fails_when_told(void)
{
	size_t page = hk_os_page();
	void *p[6];
	bool taken = true;

	hk_fake_fail_after(3);
	for (unsigned i = 0; i < 4; i++)
		p[i] = hk_os_map(page);
	t_check(p[0] != NULL && p[1] != NULL && p[2] == NULL && p[3] == NULL);
	t_check(hk_os_map_at((void *)(1024 * T_GiB), page, &taken) == NULL && !taken);
	t_check(hk_os_remap(p[0], page, 2 * page, true) == NULL);
	hk_fake_fail_after(0);
	hk_os_unmap(p[0], page);
	hk_os_unmap(p[1], page);
	hk_fake_fail_every(3);
	for (unsigned i = 0; i < 6; i++) {
		p[i] = hk_os_map(page);
		t_check_at((p[i] == NULL) == (i % 3 == 2), i);
		if (p[i] != NULL)
			hk_os_unmap(p[i], page);
	}
	hk_fake_fail_every(0);
	hk_fake_limit(4 * page);
	t_check(hk_os_map(5 * page) == NULL);
	p[0] = hk_os_map(4 * page);
	t_check(p[0] != NULL && hk_os_map(page) == NULL);
	hk_os_unmap(p[0], 4 * page);
	hk_fake_limit(SIZE_MAX);
	hk_fake_taken(1);
	t_check(hk_os_map_at((void *)(1024 * T_GiB), page, &taken) == NULL && taken);
}

static void purges(void)
{
	size_t page = hk_os_page();
	char *p = hk_os_map(4 * page);

	memset(p, 7, 4 * page);
	t_check(hk_os_purge(p + page, page) && p[page] == 0 && p[0] == 7 && p[2 * page] == 7);
	t_equal(hk_fake_purged(), page);
	t_check(hk_os_populate(p, 4 * page) && p[0] == 7);
	t_check(hk_os_purge_lazily(p, page) && (unsigned char)p[0] == 0xf5);
	hk_fake_refuse_purge(true);
	t_check(!hk_os_purge(p + 2 * page, page) && p[2 * page] == 7);
	hk_fake_refuse_purge(false);
	hk_os_unmap(p, 4 * page);
}

static void moves(void)
{
	size_t page = hk_os_page();
	char *p = hk_os_map(4 * page), *q;

	memset(p, 7, 4 * page);
	q = hk_os_move(p + page, 2 * page);
	t_need(q != NULL);
	t_check(q[0] == 7 && q[2 * page - 1] == 7);
	t_check(p[page - 1] == 7 && t_is_zero(p + page, 2 * page) && p[3 * page] == 7);
	t_equal(hk_fake_mapped(), 6 * page);
	hk_os_unmap(q, 2 * page);
	hk_os_unmap(p, 4 * page);
}

static void remaps(void)
{
	size_t page = hk_os_page();
	char *p = hk_os_map(4 * page), *wall = NULL, *q;
	bool taken;

	memset(p, 7, 4 * page);
	t_check(hk_os_remap(p, 4 * page, 2 * page, false) == p);
	t_equal(hk_fake_mapped(), 2 * page);
	wall = hk_os_map_at(p + 2 * page, page, &taken);
	t_check(wall != NULL && hk_os_remap(p, 2 * page, 8 * page, false) == NULL);
	q = hk_os_remap(p, 2 * page, 8 * page, true);
	t_need(q != NULL && q != p);
	t_check(q[0] == 7 && q[2 * page - 1] == 7 && t_is_zero(q + 2 * page, 6 * page));
	t_equal(hk_fake_mapped(), 9 * page);
	hk_os_unmap(q, 8 * page);
	hk_os_unmap(wall, page);
}

static void clock_stands_still(void)
{
	uint64_t now = hk_os_now_ns();

	t_sleep_ms(5);
	t_equal(hk_os_now_ns(), now);
	hk_os_sleep_ms(3);
	t_equal(hk_os_now_ns(), now + 3000000);
	hk_fake_advance_ms(1000);
	t_equal(hk_os_now_ns(), now + 1003000000);
}

static void breach_unmap(char *p, size_t page) { hk_os_unmap(p + 4 * page, page); }
static void breach_half(char *p, size_t page) { hk_os_unmap(p, page / 2); }
static void breach_purge(char *p, size_t page) { hk_os_purge(p + 3 * page, 2 * page); }
static void breach_twice(char *p, size_t page)
{
	hk_os_unmap(p, page);
	hk_os_unmap(p, page);
}

static void breaches_abort(void)
{
	static void (*const breach[])(char *, size_t) = { breach_unmap, breach_half, breach_purge,
							  breach_twice };

	for (unsigned i = 0; i < T_COUNT(breach); i++) {
		int status = 0;
		pid_t pid = fork();

		t_need(pid >= 0);
		if (pid == 0) {
			signal(SIGABRT, SIG_DFL);
			close(STDERR_FILENO);
			breach[i](hk_os_map(4 * hk_os_page()), hk_os_page());
			_exit(0);
		}
		t_need(waitpid(pid, &status, 0) == pid);
		t_check_at(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, i);
	}
}

static void files(void)
{
	char text[8];

	t_equal(hk_os_read("/a", text, sizeof(text)), -1);
	t_check(text[0] == '\0');
	hk_fake_file("/a", "123456");
	hk_fake_file("/b", "12345678");
	t_check(hk_os_read("/a", text, sizeof(text)) == 6 && strcmp(text, "123456") == 0);
	t_check(hk_os_read("/b", text, sizeof(text)) == 7 && strcmp(text, "1234567") == 0);
	hk_fake_file("/a", "7");
	t_check(hk_os_read("/a", text, sizeof(text)) == 1 && strcmp(text, "7") == 0);
	hk_fake_file("/a", NULL);
	t_equal(hk_os_read("/a", text, sizeof(text)), -1);
	hk_fake_file("/b", NULL);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(maps_and_joins), T_CASE(fails_when_told), T_CASE(purges),
		T_CASE(moves),          T_CASE(remaps),          T_CASE(clock_stands_still),
		T_CASE(breaches_abort), T_CASE(files),
	};
	static const size_t pages[] = { 4 * T_KiB, 16 * T_KiB, 64 * T_KiB };
	int result = 0;

	for (unsigned i = 0; i < T_COUNT(pages); i++) {
		hk_fake_page(pages[i]);
		hk_fake_reset();
		result |= t_main(argc, argv, cases, T_COUNT(cases));
	}
	return result;
}

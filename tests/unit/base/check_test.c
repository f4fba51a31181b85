/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* check: which assertions are on, and the last words of a process. */
#include "base/check.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

static void fail_verify(void *arg) { hk_verify(arg == (void *)1); }
static void fail_assert(void *arg) { hk_assert(arg == (void *)1); }
static void fail_invariant(void *arg) { hk_invariant(Q1, arg == (void *)1); }
static void fail_walk(void *arg) { hk_walk(Q2, arg == (void *)1); }

static void levels(void)
{
	t_check(u_dies(fail_verify, NULL, "arg == (void *)1"));
	if (HK_CHECK_LEVEL == 0) {
		t_check(u_lives(fail_assert, NULL));
		t_check(u_lives(fail_invariant, NULL));
		t_check(u_lives(fail_walk, NULL));
		return;
	}
	t_check(u_dies(fail_assert, NULL, "arg == (void *)1"));
	t_check(u_dies(fail_invariant, NULL, ": Q1: arg == (void *)1"));
	t_check(u_dies(fail_walk, NULL, "check_test.c:"));
	t_check(u_dies(fail_walk, NULL, ": Q2: arg == (void *)1"));
}

static void pass_all(void *arg)
{
	hk_verify(arg == NULL);
	hk_assert(arg == NULL);
	hk_invariant(Q1, arg == NULL);
	hk_walk(Q2, arg == NULL);
}

static void say_nothing_when_true(void) { t_check(u_lives(pass_all, NULL)); }

static void die_plain(void *arg)
{
	hk_die((struct hk_offence){ NULL, NULL }, "%zu bytes at %p", (size_t)7, arg);
}

static void die_in_call(void *arg) { hk_die((struct hk_offence){ "free", NULL }, "bad %p", arg); }

static void die_with_caller(void *arg)
{
	hk_die((struct hk_offence){ "free", arg }, "invalid pointer %p", (void *)0x10);
}

static void messages(void)
{
	static struct u_end end;

	u_child(die_plain, (void *)0xabc0, &end);
	t_check(strcmp(end.text, "hakmem: 7 bytes at 0xabc0\n") == 0);
	t_check(WIFSIGNALED(end.status) && WTERMSIG(end.status) == SIGABRT);
	u_child(die_in_call, (void *)0xabc0, &end);
	t_check(strcmp(end.text, "hakmem: free(): bad 0xabc0\n") == 0);
	u_child(die_with_caller, (void *)(uintptr_t)&messages, &end);
	t_check(strncmp(end.text, "hakmem: free(): invalid pointer 0x10 from unit_check_l", 54) ==
		0);
	t_check(strstr(end.text, "+0x") != NULL);
}

static void die_of_text(void *arg) { hk_die((struct hk_offence){ NULL, NULL }, "%s", (char *)arg); }

/* Names come from outside: no second line, no escape sequence, and a cut where the line is full. */
static void foreign_text(void)
{
	static struct u_end end;
	char text[3000];

	u_child(die_of_text, strcpy(text, "a\nb\x1b[1mc\x7f"), &end);
	t_check(strcmp(end.text, "hakmem: a?b?[1mc?\n") == 0);
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	u_child(die_of_text, text, &end);
	t_equal(strlen(end.text), 1024);
	t_check(end.text[1023] == '\n' && end.text[1022] == 'x');
}

static void warn_twice(void *arg)
{
	(void)arg;
	errno = 4711;
	hk_warn("%s=%d", "A", 1);
	hk_warn("second");
	t_equal(errno, 4711);
}

static void warnings(void)
{
	static struct u_end end;

	u_child(warn_twice, NULL, &end);
	t_check(strcmp(end.text, "hakmem: A=1\nhakmem: second\n") == 0);
	t_equal(end.status, 0);
}

static void die_again(int sig)
{
	(void)sig;
	hk_die((struct hk_offence){ NULL, NULL }, "again");
}

static void die_with_handler(void *arg)
{
	signal(SIGABRT, die_again);
	die_plain(arg);
}

/* A handler of SIGABRT that breaks things again ends the process, and adds nothing. */
static void dies_once(void) { t_check(u_dies(die_with_handler, NULL, "7 bytes at 0x0")); }

U_MAIN(T_CASE(levels), T_CASE(say_nothing_when_true), T_CASE(messages), T_CASE(foreign_text),
       T_CASE(warnings), T_CASE(dies_once))

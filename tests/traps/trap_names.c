/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* HAKMEM_NAMES=1: every mapping that is made from then on gets a name for its kind, by a prctl that this
 * test answers in the kernel's place, since not every kernel has it. One that refuses is asked once;
 * without the option it is never asked. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "child.h"
#include "door.h"
#include "sandbox.h"

#define MOST 4000u

static struct range {
	uintptr_t start, end;
	char name[40];
} named[MOST];
static volatile unsigned calls;
static volatile long answer;

#if defined(__x86_64__)
#define ARGUMENTS(u)                                                                               \
	{                                                                                          \
		(u)->uc_mcontext.gregs[REG_RDI], (u)->uc_mcontext.gregs[REG_RSI],                  \
			(u)->uc_mcontext.gregs[REG_RDX], (u)->uc_mcontext.gregs[REG_R10],          \
			(u)->uc_mcontext.gregs[REG_R8]                                             \
	}
#define RESULT(u) (u)->uc_mcontext.gregs[REG_RAX]
#elif defined(__aarch64__)
#define ARGUMENTS(u)                                                                               \
	{                                                                                          \
		(long)(u)->uc_mcontext.regs[0], (long)(u)->uc_mcontext.regs[1],                    \
			(long)(u)->uc_mcontext.regs[2], (long)(u)->uc_mcontext.regs[3],            \
			(long)(u)->uc_mcontext.regs[4]                                             \
	}
#define RESULT(u) (u)->uc_mcontext.regs[0]
#endif

static void answer_prctl(int sig, siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	long arg[] = ARGUMENTS(u);

	(void)sig;
	t_need(info->si_syscall == SYS_prctl && arg[0] == 0x53564d41 && arg[1] == 0);
	t_need(calls < MOST);
	named[calls].start = (uintptr_t)arg[2];
	named[calls].end = (uintptr_t)(arg[2] + arg[3]);
	snprintf(named[calls].name, sizeof(named[0].name), "%.30s", (const char *)arg[4]);
	calls++;
	RESULT(u) = (__typeof__(RESULT(u)))answer;
}

static void watch(const char *names, long says)
{
	struct sigaction act = { .sa_sigaction = answer_prctl, .sa_flags = SA_SIGINFO };
	struct sandbox box;

	answer = says;
	t_need(T_OPTION_SET("NAMES", names) == 0);
	t_need(sigaction(SIGSYS, &act, NULL) == 0);
	sandbox_begin(&box);
	sandbox_say(&box, (struct sandbox_rule){ .number = SYS_prctl }, SECCOMP_RET_TRAP);
	sandbox_enter(&box, SECCOMP_RET_ALLOW);
}

static bool is_named(const void *p, const char *name)
{
	for (unsigned i = calls; i-- > 0;)
		if ((uintptr_t)p >= named[i].start && (uintptr_t)p < named[i].end)
			return strcmp(named[i].name, name) == 0;
	return false;
}

static void use(char *p[3])
{
	for (unsigned i = 0; i < 40000; i++)
		t_need(T_MALLOC(1000) != NULL);
	p[0] = T_MALLOC(1000);
	p[1] = T_MALLOC(40 * T_MiB);
	p[2] = T_REALLOC(T_REALLOC(T_MALLOC(100), 20 * T_MiB), 200 * T_MiB);
	t_need(p[0] != NULL && p[1] != NULL && p[2] != NULL);
}

static void by_kind(void *arg)
{
	char *p[3];

	(void)arg;
	watch("1", 0);
	use(p);
	t_check(is_named(p[0], "hakmem: SuperSlabs"));
	t_check(is_named(p[1], "hakmem: huge block"));
	t_check(is_named(p[2], "hakmem: huge block"));
	t_say("%u names for 300 MiB", calls);
	t_check_at(calls >= 4 && calls <= 60, calls);
}

static void refused_once(void *arg)
{
	char *p[3];

	(void)arg;
	watch("1", -EINVAL);
	use(p);
	t_equal(calls, 1);
	t_equal(errno, 0);
}

static void off(void *arg)
{
	char *p[3];

	(void)arg;
	watch("0", 0);
	use(p);
	t_equal(calls, 0);
}

static void in_child(void (*fn)(void *))
{
	int status = run_child(fn, NULL);

	if (WIFEXITED(status) && WEXITSTATUS(status) == T_SKIP)
		_exit(T_SKIP);
	t_check_at(status == 0, (uint64_t)status);
}

static void names_by_kind(void) { in_child(by_kind); }
static void a_kernel_without(void) { in_child(refused_once); }
static void not_asked_for(void) { in_child(off); }

int main(int argc, char **argv)
{
	static const struct t_case cases[] = { T_CASE(names_by_kind), T_CASE(a_kernel_without),
					       T_CASE(not_asked_for) };

	return t_main(argc, argv, cases, T_COUNT(cases));
}

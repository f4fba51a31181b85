/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* A kernel, or a sandbox, that refuses system calls: all but mmap and munmap of private memory can be
 * missing, and everything works; how much memory goes back may differ. */
#include <stdlib.h>
#include <sys/mman.h>

#include "all_kinds.h"
#include "child.h"
#include "sandbox.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static const int answers[] = { ENOSYS, EINVAL, EPERM };

static void refuse(struct sandbox_rule rule, int answer)
{
	struct sandbox box;

	sandbox_begin(&box);
	sandbox_say(&box, rule, SECCOMP_RET_ERRNO | (uint32_t)answer);
	sandbox_enter(&box, SECCOMP_RET_ALLOW);
}

struct refusal {
	struct sandbox_rule rule;
	int answer;
};

static void in_child(void (*fn)(void *), struct sandbox_rule rule, int answer)
{
	struct refusal r = { rule, answer };
	int status = run_child(fn, &r);

	if (status != 0)
		t_say("call %d, errno %d: wait status 0x%x", rule.number, answer, (unsigned)status);
	t_check_at(status == 0, (uint64_t)rule.number);
}

static void all_kinds(void *arg)
{
	struct refusal *r = arg;
	pthread_t thread[KINDS_THREADS];

	kinds_steps = 600;
	refuse(r->rule, r->answer);
	kinds_prepare(thread);
	kinds_run();
	for (unsigned i = 0; i < KINDS_THREADS; i++)
		t_join(thread[i]);
}

static void all_kinds_hardened(void *arg)
{
	t_need(T_OPTION_SET("PROFILE", "hardened") == 0);
	all_kinds(arg);
}

static void any_call(void)
{
	static const struct sandbox_rule rules[] = {
		{ .number = SYS_madvise },
		{ .number = SYS_mremap },
		{ SYS_mremap, 3, MREMAP_DONTUNMAP },
		{ SYS_mmap, 3, MAP_FIXED_NOREPLACE },
		{ .number = SYS_mincore },
		{ .number = SYS_prctl },
		{ .number = SYS_sched_getaffinity },
		{ .number = SYS_sched_yield },
		{ .number = SYS_membarrier },
		{ .number = SYS_clock_gettime },
		{ .number = SYS_brk },
	};

	for (size_t i = 0; i < T_COUNT(rules); i++)
		for (size_t j = 0; j < T_COUNT(answers); j++)
			in_child(all_kinds, rules[i], answers[j]);
}

/* An old kernel takes the address as a hint and puts the mapping elsewhere; EEXIST says that there is
 * no room, wherever hakmem asks. */
static void no_place_is_free(void)
{
	in_child(all_kinds, (struct sandbox_rule){ SYS_mmap, 3, MAP_FIXED_NOREPLACE }, EEXIST);
}

static void any_call_hardened(void)
{
	static const int numbers[] = { SYS_getrandom, SYS_madvise, SYS_mincore, SYS_prctl };

	for (size_t i = 0; i < T_COUNT(numbers); i++)
		for (size_t j = 0; j < T_COUNT(answers); j++)
			in_child(all_kinds_hardened, (struct sandbox_rule){ .number = numbers[i] },
				 answers[j]);
}

/* 64 MiB in blocks of a kind, written and freed: without madvise it goes back, too. */
static void goes_back(void *arg)
{
	static const size_t sizes[] = { 1000, 100000, 2 * T_MiB, 64 * T_MiB };
	static void *p[70000];
	struct refusal *r = arg;
	size_t before;

	refuse(r->rule, r->answer);
	before = t_status_kib("VmRSS");
	for (size_t i = 0; i < T_COUNT(sizes); i++) {
		size_t n = 64 * T_MiB / sizes[i];

		for (size_t j = 0; j < n; j++) {
			p[j] = T_CALLOC(1, sizes[i]);
			t_need(p[j] != NULL && t_is_zero(p[j], sizes[i]));
			memset(p[j], 1, sizes[i]);
		}
		t_check_at(t_status_kib("VmRSS") > before + 60 * T_KiB, sizes[i]);
		for (size_t j = 0; j < n; j++)
			T_FREE(p[j]);
		T_TRIM();
		t_check_at(t_status_kib("VmRSS") < before + 4 * T_KiB, sizes[i]);
	}
}

static void no_madvise(void)
{
	in_child(goes_back, (struct sandbox_rule){ .number = SYS_madvise }, ENOSYS);
	in_child(goes_back, (struct sandbox_rule){ .number = SYS_madvise }, EPERM);
}

static void goes_back_lazily(void *arg)
{
	t_need(T_OPTION_SET("SS_MEM_LEAN", "1") == 0);
	t_need(T_OPTION_SET("SS_MEM_LEAN_DECOMMIT", "FREE") == 0);
	goes_back(arg);
}

/* A kernel that knows no MADV_FREE: pages go back the other way. */
static void no_lazy_purge(void)
{
	static const struct sandbox_rule rule = { SYS_madvise, 2, MADV_FREE };

	in_child(goes_back_lazily, rule, EINVAL);
}

/* Where in its slab each of some blocks lies: a random order, which differs from process to process. */
static void order_of(struct refusal *r, int out)
{
	uint32_t order[32];

	refuse(r->rule, r->answer);
	t_need(T_OPTION_SET("PROFILE", "hardened") == 0);
	for (size_t i = 0; i < T_COUNT(order); i++)
		order[i] = (uint32_t)(uintptr_t)T_MALLOC(100) & 0xffff;
	t_need(write(out, order, sizeof(order)) == sizeof(order));
}

static const char *self;

/* In a process with an AT_RANDOM of its own. */
static void ask_for_order(int answer, uint32_t order[32])
{
	char number[20];
	char *argv[] = { (char *)(uintptr_t)self, (char *)(uintptr_t) "order", number, NULL };
	int out[2], status = 0;
	pid_t pid;

	snprintf(number, sizeof(number), "%d", answer);
	t_need(pipe(out) == 0);
	pid = fork();
	t_need(pid >= 0);
	if (pid == 0) {
		dup2(out[1], 1);
		execv(self, argv);
		_exit(1);
	}
	close(out[1]);
	t_need(read(out[0], order, 32 * sizeof(*order)) == 32 * sizeof(*order));
	close(out[0]);
	t_need(waitpid(pid, &status, 0) == pid && status == 0);
}

/* EAGAIN: the kernel has no random numbers yet, early after its start. */
static void no_random_numbers(void)
{
	static const int refusals[] = { EAGAIN, ENOSYS, EPERM };

	for (size_t i = 0; i < T_COUNT(refusals); i++) {
		uint32_t one[32], other[32];

		ask_for_order(refusals[i], one);
		ask_for_order(refusals[i], other);
		t_check_at(memcmp(one, other, sizeof(one)) != 0, (uint64_t)refusals[i]);
	}
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(any_call),   T_CASE(no_place_is_free), T_CASE(any_call_hardened),
		T_CASE(no_madvise), T_CASE(no_lazy_purge),    T_CASE(no_random_numbers),
	};

	self = argv[0];
	if (argc > 2 && strcmp(argv[1], "order") == 0) {
		struct refusal r = { { .number = SYS_getrandom }, atoi(argv[2]) };

		order_of(&r, 1);
		return 0;
	}
	return t_main(argc, argv, cases, T_COUNT(cases));
}

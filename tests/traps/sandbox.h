/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_TESTS_SANDBOX_H
#define HK_TESTS_SANDBOX_H
/* Filters of system calls for this process and its threads (seccomp). */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness.h"

#if defined(__x86_64__)
#define SANDBOX_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define SANDBOX_ARCH AUDIT_ARCH_AARCH64
#endif

#define SANDBOX_RULES 60

/* One system call; with `bits`, only when its argument has one of these. */
struct sandbox_rule {
	int number, argument;
	uint32_t bits;
};

struct sandbox {
	struct sock_filter code[4 + 4 * SANDBOX_RULES];
	unsigned short length;
};

static inline void sandbox_add(struct sandbox *s, uint16_t code, uint8_t yes, uint8_t no,
			       uint32_t k)
{
	t_need(s->length < T_COUNT(s->code));
	s->code[s->length++] = (struct sock_filter){ code, yes, no, k };
}

static inline void sandbox_load(struct sandbox *s, size_t offset)
{
	sandbox_add(s, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

static inline void sandbox_begin(struct sandbox *s)
{
	s->length = 0;
	sandbox_load(s, offsetof(struct seccomp_data, arch));
	sandbox_add(s, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, SANDBOX_ARCH);
	sandbox_add(s, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS);
	sandbox_load(s, offsetof(struct seccomp_data, nr));
}

/* What the rule says of leads to the action. */
static inline void sandbox_say(struct sandbox *s, struct sandbox_rule rule, uint32_t action)
{
	if (rule.bits == 0) {
		sandbox_add(s, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (uint32_t)rule.number);
		sandbox_add(s, BPF_RET | BPF_K, 0, 0, action);
		return;
	}
	sandbox_add(s, BPF_JMP | BPF_JEQ | BPF_K, 0, 4, (uint32_t)rule.number);
	sandbox_load(s, offsetof(struct seccomp_data, args) + 8 * (size_t)rule.argument);
	sandbox_add(s, BPF_JMP | BPF_JSET | BPF_K, 0, 1, rule.bits);
	sandbox_add(s, BPF_RET | BPF_K, 0, 0, action);
	sandbox_load(s, offsetof(struct seccomp_data, nr));
}

/* From now on, for ever, and for the threads that there are. */
static inline void sandbox_enter(struct sandbox *s, uint32_t otherwise)
{
	struct sock_fprog program;

	sandbox_add(s, BPF_RET | BPF_K, 0, 0, otherwise);
	program = (struct sock_fprog){ s->length, s->code };
	t_need(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0)
		t_skip("this kernel has no seccomp filters");
}

#endif

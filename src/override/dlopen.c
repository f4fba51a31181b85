/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * RTLD_DEEPBIND makes a library look for malloc in its own dependencies first, that is in libc,
 * while the program, and libc itself (strdup, getline), use hakmem: blocks then cross over, and die
 * in the wrong free. So dlopen is interposed, and the flag cleared.
 *
 * glibc takes the namespace, RUNPATH and $ORIGIN of a dlopen from its return address. A C function
 * would make hakmem the caller, unless the compiler happens to make a tail call: hence assembly,
 * which jumps on with the stack as it was. The real dlopen is looked up at the first call. */
#include "override/override.h"

#if HK_OVERRIDE && HK_SHARED && defined(__GLIBC__)
#include <dlfcn.h>

#include "base/check.h" /* hk_die */

/* For the assembly below, which knows these by name. */
void *hk_dlopen_find(void);
extern void *_Atomic hk_dlopen_next;

void *_Atomic hk_dlopen_next; /* the next dlopen in link order, or NULL: not looked up yet */

static_assert(RTLD_DEEPBIND == 8, "the assembly clears bit 3");
static_assert(sizeof(hk_dlopen_next) == sizeof(void *), "the assembly loads one word");

HK_COLD void *hk_dlopen_find(void)
{
	void *next = dlsym(RTLD_NEXT, "dlopen");

	if (next == NULL)
		hk_die((struct hk_offence){ "dlopen", NULL }, "there is none behind hakmem's");
	atomic_store_explicit(&hk_dlopen_next, next, memory_order_relaxed);
	return next;
}

#if defined(__x86_64__)
__asm__(".pushsection .text\n"
	"	.p2align 4\n"
	"	.globl	dlopen\n"
	"	.type	dlopen, @function\n"
	"dlopen:\n"
	"	.cfi_startproc\n"
	"	endbr64\n"
	"	andl	$-9, %esi\n"
	"	movq	hk_dlopen_next(%rip), %rax\n"
	"	testq	%rax, %rax\n"
	"	je	1f\n"
	"	jmp	*%rax\n"
	"1:	pushq	%rdi\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	pushq	%rsi\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	subq	$8, %rsp\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	call	hk_dlopen_find\n"
	"	addq	$8, %rsp\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq	%rsi\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq	%rdi\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	jmp	*%rax\n"
	"	.cfi_endproc\n"
	"	.size	dlopen, . - dlopen\n"
	".popsection\n");
#elif defined(__aarch64__)
/* hint #34 is bti c; a jump through x16 may land on one. */
__asm__(".pushsection .text\n"
	"	.p2align 4\n"
	"	.globl	dlopen\n"
	"	.type	dlopen, %function\n"
	"dlopen:\n"
	"	.cfi_startproc\n"
	"	hint	#34\n"
	"	and	w1, w1, #0xfffffff7\n"
	"	adrp	x16, hk_dlopen_next\n"
	"	ldr	x16, [x16, #:lo12:hk_dlopen_next]\n"
	"	cbz	x16, 1f\n"
	"	br	x16\n"
	"1:	stp	x0, x1, [sp, #-32]!\n"
	"	.cfi_adjust_cfa_offset 32\n"
	"	str	x30, [sp, #16]\n"
	"	.cfi_offset x30, -16\n"
	"	bl	hk_dlopen_find\n"
	"	mov	x16, x0\n"
	"	ldr	x30, [sp, #16]\n"
	"	.cfi_restore x30\n"
	"	ldp	x0, x1, [sp], #32\n"
	"	.cfi_adjust_cfa_offset -32\n"
	"	br	x16\n"
	"	.cfi_endproc\n"
	"	.size	dlopen, . - dlopen\n"
	".popsection\n");
#else
#error "dlopen.c: write the jump for this processor"
#endif

#endif

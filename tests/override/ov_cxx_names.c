/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * The twenty C++ operators, from C: so also where there is no C++ library (musl, static). With
 * argument "die", operator new must end the process for want of anything to throw: for programs
 * without a C++ library only. */
#include "ov.h"

void *_Znwm(size_t), *_Znam(size_t), *_ZnwmRKSt9nothrow_t(size_t, const void *);
void *_ZnamRKSt9nothrow_t(size_t, const void *), *_ZnwmSt11align_val_t(size_t, size_t);
void *_ZnamSt11align_val_t(size_t, size_t);
void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t, size_t, const void *);
void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t, size_t, const void *);
void _ZdlPv(void *), _ZdaPv(void *), _ZdlPvm(void *, size_t), _ZdaPvm(void *, size_t);
void _ZdlPvSt11align_val_t(void *, size_t), _ZdaPvSt11align_val_t(void *, size_t);
void _ZdlPvmSt11align_val_t(void *, size_t, size_t), _ZdaPvmSt11align_val_t(void *, size_t, size_t);
void _ZdlPvRKSt9nothrow_t(void *, const void *), _ZdaPvRKSt9nothrow_t(void *, const void *);
void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *, size_t, const void *);
void _ZdaPvSt11align_val_tRKSt9nothrow_t(void *, size_t, const void *);

static const char tag;

static void *good(void *p, size_t align)
{
	OV_CHECK(p != NULL && (uintptr_t)p % align == 0);
	memset(p, 1, 16);
	return ov_hide(p);
}

static void new_too_much(void *unused)
{
	(void)unused;
	ov_hide(_Znwm(ov_hide_size(SIZE_MAX / 2)));
}

int main(int argc, char **argv)
{
	_ZdlPv(good(_Znwm(0), 16));
	_ZdaPv(good(_Znam(0), 16));
	_ZdlPvm(good(_Znwm(100), 16), 100);
	_ZdaPvm(good(_Znam(100), 16), 100);
	_ZdlPvm(good(_Znwm(1000), 16), 8); /* a base class's size: must be forgiven */
	_ZdlPvRKSt9nothrow_t(good(_ZnwmRKSt9nothrow_t(0, &tag), 16), &tag);
	_ZdaPvRKSt9nothrow_t(good(_ZnamRKSt9nothrow_t(0, &tag), 16), &tag);
	_ZdlPvSt11align_val_t(good(_ZnwmSt11align_val_t(0, 64), 64), 64);
	_ZdaPvSt11align_val_t(good(_ZnamSt11align_val_t(100, 4096), 4096), 4096);
	_ZdlPvmSt11align_val_t(good(_ZnwmSt11align_val_t(100, 8), 16), 100, 8);
	_ZdaPvmSt11align_val_t(good(_ZnamSt11align_val_t(100, 32), 32), 100, 32);
	_ZdlPvSt11align_val_tRKSt9nothrow_t(
		good(_ZnwmSt11align_val_tRKSt9nothrow_t(0, 128, &tag), 128), 128, &tag);
	_ZdaPvSt11align_val_tRKSt9nothrow_t(
		good(_ZnamSt11align_val_tRKSt9nothrow_t(0, 1, &tag), 16), 1, &tag);
	_ZdlPv(NULL);
	free(good(_Znwm(100), 16));
	_ZdlPv(good(malloc(100), 16));
	OV_CHECK(ov_hide(_ZnwmRKSt9nothrow_t(ov_hide_size(SIZE_MAX / 2), &tag)) == NULL);
	OV_CHECK(ov_hide(_ZnamSt11align_val_tRKSt9nothrow_t(ov_hide_size(SIZE_MAX / 2), 64,
							    &tag)) == NULL);
	if (argc > 1 && strcmp(argv[1], "die") == 0)
		ov_must_abort("new without C++", new_too_much, NULL,
			      "hakmem: operator new(): out of memory");
	return 0;
}

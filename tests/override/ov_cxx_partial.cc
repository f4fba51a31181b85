/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * A program that replaces plain new and delete, and leaves the other operators to hakmem: links (no
 * symbol twice in a static program), and its own are used. */
#include "ov.h"

#include <new>

static int news, deletes;

void *operator new(size_t size)
{
	news++;
	return ov_hide(malloc(size));
}

void operator delete(void *p) noexcept
{
	deletes++;
	free(ov_hide(p));
}

void operator delete(void *p, size_t) noexcept
{
	deletes++;
	free(ov_hide(p));
}

struct alignas(64) wide {
	char bytes[64];
};

int main()
{
	int *p = new int;
	wide *w = new wide;

	ov_hide(p);
	ov_hide(w);
	OV_CHECK((uintptr_t)w % 64 == 0 && news >= 1);
	delete w;
	delete p;
	delete[] static_cast<char *>(ov_hide(new (std::nothrow) char[10]));
	OV_CHECK(deletes >= 1);
	return 0;
}

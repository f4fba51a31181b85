/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * A program that names only operator new, and no function of libc's malloc: in a static link too,
 * the malloc that its C++ library uses must be hakmem's, for which libc's break stays where it was. */
#include <string>
#include <unistd.h>

#include "ov.h"

int main()
{
	char *before = static_cast<char *>(sbrk(0));
	std::string text(100000, 'x');
	int *number = static_cast<int *>(ov_hide(new int(4711)));

	ov_hide(&text);
	OV_CHECK(*number == 4711);
	delete number;
	/* strdup is libc's, and calls malloc by name. */
	for (int i = 0; i < 1000; i++)
		OV_CHECK(ov_hide(strdup(text.c_str())) != nullptr);
	OV_CHECK(static_cast<char *>(sbrk(0)) - before < 1 << 20);
	return 0;
}

/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * The library of ov_late_cxx.c. Returns 0, or the line that failed. */
#include <cstdint>
#include <cstring>
#include <new>

static int handled;

static void once()
{
	handled++;
	std::set_new_handler(nullptr);
}

static void throwing()
{
	handled++;
	throw std::bad_alloc();
}

static volatile size_t too_much = SIZE_MAX / 2;
static void *volatile got;

extern "C" int ov_late_cxx_run()
{
	try {
		got = ::operator new(too_much);
		return __LINE__;
	} catch (const std::bad_alloc &e) {
		if (strstr(e.what(), "bad_alloc") == nullptr)
			return __LINE__;
	}
	std::set_new_handler(once);
	try {
		got = ::operator new[](too_much, std::align_val_t{ 64 });
		return __LINE__;
	} catch (const std::bad_alloc &) {
		if (handled != 1)
			return __LINE__;
	}
	std::set_new_handler(throwing);
	got = ::operator new(too_much, std::nothrow);
	if (got != nullptr || handled != 2)
		return __LINE__;
	std::set_new_handler(nullptr);
	got = ::operator new(100);
	::operator delete(got);
	return 0;
}

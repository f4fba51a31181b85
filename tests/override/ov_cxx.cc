/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * The C++ operators in C++: bad_alloc, new-handlers that help, give up and throw. C++17. Argument
 * "static": a handler that throws in a nothrow new is not tried (see src/override/cxx.c). */
#include "ov.h"

#include <cerrno>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

static int handled;
static const size_t too_much = SIZE_MAX / 2;

static void give_up_at_three()
{
	if (++handled == 3)
		std::set_new_handler(nullptr);
}

static void throw_out()
{
	handled++;
	throw std::bad_alloc();
}

struct other_exception {
};

static void throw_other()
{
	handled++;
	throw other_exception();
}

template <typename F> static bool throws(F f)
{
	try {
		ov_hide(f());
	} catch (const std::bad_alloc &) {
		return true;
	}
	return false;
}

static void check_throwing()
{
	const std::align_val_t align{ 64 };

	OV_CHECK(throws([] { return ::operator new(ov_hide_size(too_much)); }));
	OV_CHECK(throws([] { return ::operator new[](ov_hide_size(too_much)); }));
	OV_CHECK(throws([=] { return ::operator new(ov_hide_size(too_much), align); }));
	OV_CHECK(throws([=] { return ::operator new[](ov_hide_size(too_much), align); }));
	std::set_new_handler(give_up_at_three);
	handled = 0;
	OV_CHECK(throws([] { return ::operator new(ov_hide_size(too_much)); }) && handled == 3);
	std::set_new_handler(throw_out);
	handled = 0;
	OV_CHECK(throws([] { return ::operator new(ov_hide_size(too_much)); }) && handled == 1);
	std::set_new_handler(nullptr);
}

static void check_nothrow(bool handlers_may_throw)
{
	const std::align_val_t align{ 64 };

	OV_CHECK(ov_hide(::operator new(ov_hide_size(too_much), std::nothrow)) == nullptr);
	OV_CHECK(ov_hide(::operator new[](ov_hide_size(too_much), align, std::nothrow)) == nullptr);
	std::set_new_handler(give_up_at_three);
	handled = 0;
	OV_CHECK(ov_hide(::operator new[](ov_hide_size(too_much), std::nothrow)) == nullptr);
	OV_CHECK(handled == 3);
	if (!handlers_may_throw)
		return;
	std::set_new_handler(throw_out);
	handled = 0;
	OV_CHECK(ov_hide(::operator new(ov_hide_size(too_much), std::nothrow)) == nullptr);
	OV_CHECK(handled == 1);
	OV_CHECK(ov_hide(::operator new(ov_hide_size(too_much), align, std::nothrow)) == nullptr);
	OV_CHECK(handled == 2);
	std::set_new_handler(nullptr);
}

/* What is no bad_alloc passes through the throwing forms. */
static void check_other_exceptions()
{
	bool caught = false;

	std::set_new_handler(throw_other);
	try {
		ov_hide(::operator new(ov_hide_size(too_much)));
	} catch (const other_exception &) {
		caught = true;
	}
	OV_CHECK(caught);
	std::set_new_handler(nullptr);
}

struct alignas(256) wide {
	char bytes[256];
};

static void check_daily_use()
{
	std::vector<std::string> words;
	std::vector<std::thread> threads;

	for (int i = 0; i < 1000; i++)
		words.push_back(std::string((size_t)i, 'x'));
	for (int i = 0; i < 4; i++)
		threads.emplace_back([] {
			for (int n = 0; n < 1000; n++)
				OV_CHECK((uintptr_t)std::make_unique<wide[]>(3).get() % 256 == 0);
		});
	for (auto &t : threads)
		t.join();
	OV_CHECK(throws([] { return new std::vector<char>(ov_hide_size(PTRDIFF_MAX / 2)); }));
}

int main(int argc, char **argv)
{
	bool is_static = argc > 1 && strcmp(argv[1], "static") == 0;

	check_daily_use();
	check_throwing();
	check_nothrow(!is_static);
	check_other_exceptions();
	return 0;
}

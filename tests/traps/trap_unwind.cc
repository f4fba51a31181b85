/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Walks up the stack through hakmem: bad_alloc, thrown when an address-space limit refuses, unwinds frames
 * with destructors; backtrace(3) in a new-handler, and in the signal handler of a profiler that interrupts
 * malloc and free wherever they are, finds the callers. Preloaded; exports its functions. */
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <execinfo.h>
#include <memory>
#include <new>
#include <sys/resource.h>
#include <sys/time.h>
#include <thread>
#include <vector>

#if defined(__clang__)
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE __attribute__((noinline, noclone))
#endif
#define EXPORT extern "C" NOINLINE __attribute__((visibility("default")))

static unsigned failures;

static void check_at(bool good, const char *text, int line)
{
	if (good)
		return;
	fprintf(stderr, "trap_unwind.cc:%d: failed: %s\n", line, text);
	failures++;
}
#define CHECK(cond) check_at(cond, #cond, __LINE__)

/* Is one of the frames in the function of this name? */
static bool passes(void *const *frame, int frames, const char *name)
{
	Dl_info info;

	for (int i = 0; i < frames; i++)
		if (dladdr(frame[i], &info) != 0 && info.dli_sname != nullptr &&
		    strcmp(info.dli_sname, name) == 0)
			return true;
	return false;
}

/* ---- bad_alloc ---- */

static thread_local unsigned destroyed;

struct guard {
	~guard() { destroyed++; }
};

struct node {
	std::unique_ptr<node> next;
	char text[100000];
};

EXPORT void trap_deeper(unsigned frames, std::unique_ptr<node> *list)
{
	guard g;

	if (frames != 0) {
		trap_deeper(frames - 1, list);
		return;
	}
	for (unsigned i = 0; i < 1000000; i++) {
		std::unique_ptr<node> n(new node);

		n->next = std::move(*list);
		*list = std::move(n);
	}
}

static void limit_address_space(rlim_t bytes)
{
	struct rlimit r;

	getrlimit(RLIMIT_AS, &r);
	r.rlim_cur = bytes < r.rlim_max ? bytes : r.rlim_max;
	CHECK(setrlimit(RLIMIT_AS, &r) == 0);
}

static void run_out()
{
	for (unsigned round = 0; round < 3; round++) {
		std::unique_ptr<node> list;
		bool caught = false;

		destroyed = 0;
		try {
			trap_deeper(9, &list);
		} catch (const std::bad_alloc &) {
			caught = true;
		}
		CHECK(caught && destroyed == 10);
		while (list != nullptr) /* no recursion of destructors */
			list = std::move(list->next);
	}
}

static void bad_alloc()
{
	std::vector<std::thread> threads;

	threads.emplace_back(run_out); /* made once without a limit */
	threads.back().join();
	threads.clear();
}

/* ---- backtrace in a new-handler ---- */

static void *seen[64];
static int seen_frames;

static void look_up()
{
	seen_frames = backtrace(seen, 64);
	std::set_new_handler(nullptr);
}

EXPORT void trap_ask_for_too_much()
{
	std::set_new_handler(look_up);
	try {
		volatile size_t much = PTRDIFF_MAX - 5000;
		::operator delete(::operator new(much));
	} catch (const std::bad_alloc &) {
		return;
	}
	CHECK(!"thrown");
}

static void new_handler()
{
	void *first[2];

	backtrace(first, 2); /* which loads a library */
	trap_ask_for_too_much();
	CHECK(seen_frames > 2 && passes(seen, seen_frames, "trap_ask_for_too_much"));
}

/* ---- a profiler ---- */

#define SAMPLES 150
#define DEPTH	24

static struct {
	void *frame[DEPTH];
	int frames;
} sample[SAMPLES];
static volatile int samples;

static void take_sample(int)
{
	if (samples < SAMPLES) {
		sample[samples].frames = backtrace(sample[samples].frame, DEPTH);
		samples = samples + 1;
	}
}

EXPORT void trap_burn()
{
	static void *volatile p[5000];

	for (size_t i = 0; samples < SAMPLES; i++) {
		size_t at = i * 7919 % 5000;

		free(p[at]);
		p[at] = malloc(i % 100 == 0 ? 300000 : i * 31 % 3000);
	}
	for (size_t i = 0; i < 5000; i++)
		free(p[i]);
}

static void profiler()
{
	struct itimerval each = { { 0, 1000 }, { 0, 1000 } }, none = { { 0, 0 }, { 0, 0 } };
	int inside = 0, found = 0;
	Dl_info ours, at;

	CHECK(dladdr(dlsym(RTLD_DEFAULT, "hak_version"), &ours) != 0);
	signal(SIGPROF, take_sample);
	setitimer(ITIMER_PROF, &each, nullptr);
	trap_burn();
	setitimer(ITIMER_PROF, &none, nullptr);
	for (int i = 0; i < samples; i++) {
		/* 0 and 1 are the handler and its trampoline */
		bool in_hakmem = sample[i].frames > 2 && dladdr(sample[i].frame[2], &at) != 0 &&
				 at.dli_fbase == ours.dli_fbase;

		if (!in_hakmem)
			continue;
		inside++;
		found += passes(sample[i].frame, sample[i].frames, "trap_burn");
	}
	fprintf(stderr, "of %d samples %d in hakmem, of these %d lead to the caller\n", samples,
		inside, found);
	CHECK(inside > 20 && found == inside);
}

int main()
{
	CHECK(dlsym(RTLD_DEFAULT, "hak_version") != nullptr);
	new_handler();
	profiler();
	limit_address_space(400u << 20);
	bad_alloc();
	run_out();
	return failures != 0;
}

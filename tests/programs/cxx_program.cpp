// SPDX-License-Identifier: MIT
// SPDX-FileCopyrightText: the hakmem authors
//
// A C++ program as programs are: containers, exceptions through several frames and threads, memory
// resources, over-aligned types, iostreams and locales. It prints a few checksums.
#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <iomanip>
#include <iostream>
#include <list>
#include <map>
#include <memory>
#include <memory_resource>
#include <mutex>
#include <new>
#include <optional>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

namespace
{

struct Rng {
	std::uint64_t state;

	std::uint64_t operator()()
	{
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		return state;
	}
};

struct alignas(128) Wide {
	std::array<unsigned char, 200> bytes{};
};

// Thrown with a payload that has to be copied and destroyed on the way.
class Trouble : public std::runtime_error
{
      public:
	Trouble(const std::string &what, std::vector<int> data)
		: std::runtime_error(what), data_(std::move(data))
	{
	}
	std::size_t size() const { return data_.size(); }

      private:
	std::vector<int> data_;
};

std::size_t descend(int depth, Rng &rng)
{
	std::string local(40 + depth, 'x'); // destroyed by unwinding
	auto owned = std::make_unique<Wide>();

	if (reinterpret_cast<std::uintptr_t>(owned.get()) % alignof(Wide) != 0)
		std::terminate();
	if (depth == 0)
		throw Trouble("at the bottom, " + std::to_string(rng() % 10),
			      std::vector<int>(100, 7));
	return descend(depth - 1, rng) + local.size();
}

std::uint64_t throw_often(std::uint64_t seed)
{
	Rng rng{ seed };
	std::uint64_t sum = 0;

	for (int i = 0; i < 400; i++) {
		try {
			try {
				sum += descend(i % 20, rng);
			} catch (const Trouble &t) {
				sum += t.size() + std::string(t.what()).size();
				std::throw_with_nested(std::logic_error("around"));
			}
		} catch (const std::exception &outer) {
			try {
				std::rethrow_if_nested(outer);
			} catch (const std::exception &inner) {
				sum = sum * 31 + std::string(inner.what()).back();
			}
		}
	}
	return sum;
}

std::uint64_t use_containers(std::uint64_t seed)
{
	Rng rng{ seed };
	std::map<std::string, std::vector<std::string>> ordered;
	std::unordered_map<std::uint64_t, std::shared_ptr<std::string>> hashed;
	std::list<std::variant<int, std::string, Wide>> mixed;
	std::deque<std::function<std::uint64_t()>> calls;
	std::uint64_t sum = 0;

	for (int i = 0; i < 20000; i++) {
		auto key = rng() % 3000;
		auto text = std::make_shared<std::string>(key % 90, 'a' + key % 26);
		ordered["key-" + std::to_string(key)].push_back(*text);
		hashed[key] = text;
		if (i % 3 == 0)
			mixed.emplace_back(*text);
		else if (i % 50 == 1)
			mixed.emplace_back(Wide{});
		calls.emplace_back([text, i] { return text->size() + i; });
		if (calls.size() > 500) {
			sum += calls.front()();
			calls.pop_front();
		}
	}
	for (const auto &[key, list] : ordered)
		for (const auto &text : list)
			sum = sum * 131 + key.size() + text.size();
	return sum + hashed.size() + mixed.size();
}

std::uint64_t use_pmr(std::uint64_t seed)
{
	Rng rng{ seed };
	std::pmr::synchronized_pool_resource pool;
	std::pmr::monotonic_buffer_resource bump(1024, &pool);
	std::pmr::vector<std::pmr::string> lines(&pool);
	std::pmr::map<std::uint64_t, std::pmr::string> index(&bump);
	std::uint64_t sum = 0;

	for (int i = 0; i < 8000; i++) {
		lines.emplace_back(rng() % 300, 'p');
		index.emplace(rng() % 4000, "some text that does not fit into the string itself");
		if (i % 5 == 0)
			lines.erase(lines.begin() + static_cast<long>(rng() % lines.size()));
	}
	for (const auto &line : lines)
		sum += line.size();
	return sum * 7 + index.size();
}

std::string use_streams(std::uint64_t seed)
{
	Rng rng{ seed };
	std::ostringstream out;
	std::uint64_t sum = 0;
	std::string word;

	out.imbue(std::locale::classic());
	for (int i = 0; i < 20000; i++)
		out << std::setw(1 + i % 9) << rng() % 1000 << (i % 11 ? ' ' : '\n')
		    << std::setprecision(i % 6) << static_cast<double>(i) / 7 << ' ';
	std::istringstream in(out.str());
	while (in >> word)
		sum = sum * 31 + word.size();
	const std::regex pattern("([0-9]+)\\.([0-9])");
	const std::string head = out.str().substr(0, 4000);
	sum += static_cast<std::uint64_t>(std::distance(
		std::sregex_iterator(head.begin(), head.end(), pattern), std::sregex_iterator()));
	return std::to_string(sum);
}

// operator new in its forms, and what it throws.
std::string use_new()
{
	std::ostringstream out;

	try {
		std::vector<char> v;
		v.reserve(v.max_size());
		out << "reserved ";
	} catch (const std::bad_alloc &) {
		out << "bad_alloc ";
	}
	void *volatile none = ::operator new(SIZE_MAX / 2, std::nothrow);
	out << (none ? "block " : "null ");
	auto wide = std::make_unique<Wide[]>(100);
	out << reinterpret_cast<std::uintptr_t>(wide.get()) % alignof(Wide);
	return out.str();
}

// Blocks travel from producers to a consumer in another thread, exceptions by futures.
std::uint64_t use_threads()
{
	std::mutex lock;
	std::vector<std::unique_ptr<std::string>> shared;
	std::vector<std::future<std::uint64_t>> jobs;
	std::uint64_t sum = 0;

	for (std::uint64_t t = 1; t <= 6; t++) {
		jobs.push_back(std::async(std::launch::async, [t, &lock, &shared] {
			for (int i = 0; i < 5000; i++) {
				auto text = std::make_unique<std::string>(i % 200, 't');
				const std::lock_guard<std::mutex> guard(lock);
				shared.push_back(std::move(text));
				if (shared.size() > 1000)
					shared.erase(shared.begin(), shared.begin() + 500);
			}
			const auto result = use_containers(t) + use_pmr(t) + throw_often(t);
			if (t % 2 == 0)
				throw Trouble("from a thread", std::vector<int>(result % 1000));
			return result;
		}));
	}
	for (auto &job : jobs) {
		try {
			sum = sum * 31 + job.get();
		} catch (const Trouble &t) {
			sum = sum * 37 + t.size();
		}
	}
	return sum;
}

} // namespace

int main()
{
	std::cout << throw_often(11) << '\n'
		  << use_containers(12) << '\n'
		  << use_pmr(13) << '\n'
		  << use_streams(14) << '\n'
		  << use_new() << '\n'
		  << use_threads() << std::endl;
	return 0;
}

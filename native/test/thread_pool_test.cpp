// The pool: every task once, errors thrown on, many callers at once.
#include "parallel/thread_pool.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#endif

#include "error.h"
#include "parallel/job_queue.h"

using namespace vertexq;

namespace {

void everyTaskOnce() {
  for (unsigned threads : {1u, 2u, 7u, 1000u})
    for (std::size_t count : {0u, 1u, 2u, 100u, 5000u}) {
      std::vector<std::atomic<int>> ran(count);
      std::atomic<bool> slotsInRange{true};
      ThreadPool::shared().parallelFor(count, threads, [&](std::size_t i, unsigned slot) {
        ++ran[i];
        if (slot >= threads) slotsInRange = false;
      });
      for (const auto& times : ran) CHECK(times == 1);
      CHECK(slotsInRange);
    }
}

void slotsAreExclusive() {
  std::vector<std::atomic<int>> inSlot(4);
  std::atomic<bool> shared{false};
  ThreadPool::shared().parallelFor(2000, 4, [&](std::size_t, unsigned slot) {
    if (++inSlot[slot] > 1) shared = true;
    --inSlot[slot];
  });
  CHECK(!shared);
}

void errorsAreThrownOn() {
  for (unsigned threads : {1u, 4u}) {
    std::atomic<int> ran{0};
    CHECK_THROWS_AS(
        [&] {
          ThreadPool::shared().parallelFor(100000, threads, [&](std::size_t i, unsigned) {
            ++ran;
            if (i == 5) throw std::runtime_error("five");
            // Else the others could be through with all of them while this thread waits for a core.
            if (i > 5) std::this_thread::sleep_for(std::chrono::microseconds(20));
          });
        }(),
        std::runtime_error);
    CHECK(ran < 100000);
    for (int round = 0; round < 200; ++round) {
      std::string message;
      try {
        ThreadPool::shared().parallelFor(8, threads, [&](std::size_t i, unsigned) {
          if (i >= 2) throw std::runtime_error(std::to_string(i));
        });
      } catch (const std::runtime_error& error) {
        message = error.what();
      }
      CHECK(message == "2");
    }
  }
}

void manyCallers() {
  std::atomic<std::size_t> sum{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 6; ++caller)
    callers.emplace_back([&] {
      for (int round = 0; round < 50; ++round)
        ThreadPool::shared().parallelFor(20, 3, [&](std::size_t i, unsigned) { sum += i; });
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(sum == 6 * 50 * 190);
}

/** Two callers that may each use three threads: three work, once each has begun, not four. */
void callersShareTheThreads() {
  using namespace std::chrono_literals;
  constexpr int limit = 3;
  std::atomic<int> begun{0}, working{0}, most{0}, ran{0}, together{1000};
  const auto caller = [&] {
    std::atomic<bool> first{true};
    ThreadPool::shared().parallelFor(300, limit, [&](std::size_t, unsigned) {
      if (first.exchange(false) && ++begun == 2) together = ran.load();
      const int now = ++working;
      // Helpers that began before the second caller did may end the task they are in.
      if (ran > together + 100 && now > most) most = now;
      std::this_thread::sleep_for(100us);
      --working;
      ++ran;
    });
  };
  std::thread other(caller);
  caller();
  other.join();
  CHECK(ran == 600);
  CHECK(most <= limit);
}

/**
 * Helpers may be at all of a job's tasks before its caller is, and leave them when another job begins: the caller must still find
 * a place, for it alone stays to the end.
 */
void nothingIsLeftUndone() {
  ThreadPool::shared().parallelFor(64, 16, [](std::size_t, unsigned) {});  // many helpers
  std::atomic<int> undone{0};
  const auto caller = [&](unsigned threads) {
    for (int round = 0; round < 400; ++round) {
      std::atomic<int> ran{0};
      ThreadPool::shared().parallelFor(6, threads, [&](std::size_t, unsigned) {
        std::this_thread::yield();
        ++ran;
      });
      if (ran != 6) ++undone;
    }
  };
  std::vector<std::thread> others;
  for (const unsigned threads : {2u, 3u, 2u}) others.emplace_back(caller, threads);
  caller(2);
  for (std::thread& other : others) other.join();
  CHECK(undone == 0);
}

/** A task may call parallelFor itself. */
void nested() {
  std::atomic<int> ran{0};
  ThreadPool::shared().parallelFor(20, 4, [&](std::size_t, unsigned) {
    ThreadPool::shared().parallelFor(20, 4, [&](std::size_t, unsigned) { ++ran; });
  });
  CHECK(ran == 400);
}

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/** In a process of its own: `check` where no room is left for the stack of a thread. Returns what it returns. */
template <typename Check>
bool withoutThreads(const Check& check) {
  const pid_t child = fork();
  if (child == 0) {
    std::size_t pages = 0;
    if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
      if (std::fscanf(file, "%zu", &pages) != 1) pages = 0;
      std::fclose(file);
    }
    rlimit limit{};
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE)) + (std::size_t{1} << 20);
    setrlimit(RLIMIT_AS, &limit);
    try {
      // What stacks there are already, of threads that OpenBLAS has ended.
      for (;;) std::thread([] { std::this_thread::sleep_for(std::chrono::minutes(1)); }).detach();
    } catch (const std::system_error&) {
    }
    _exit(check() ? 0 : 1);
  }
  int status = 1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/** trust 8: runs on the threads that can be had. Before any thread was started in this process. */
void withoutThreadsTheCallerDoesAll() {
  CHECK(withoutThreads([] {
    bool all = true;
    for (int round = 0; round < 3; ++round) {
      std::atomic<int> ran{0};
      ThreadPool::shared().parallelFor(100, 4, [&](std::size_t, unsigned slot) { ran += slot == 0 ? 1 : 1000; });
      all = all && ran == 100;
    }
    return all;
  }));
  CHECK(withoutThreads([] {
    std::string code;
    try {
      JobQueue::shared().submit([] {});
    } catch (const Error& error) {
      code = error.code();
    }
    // And goes on when there are threads again.
    rlimit limit{};
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_AS, &limit);
    std::atomic<bool> done{false};
    JobQueue::shared().submit([&] { done = true; });
    for (int i = 0; i < 1000 && !done; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return code == "ERR_VERTEXQ_THREADS" && done;
  }));
}
#else
void withoutThreadsTheCallerDoesAll() {}
#endif

}  // namespace

TEST_CASE("without threads the caller does all") { withoutThreadsTheCallerDoesAll(); }
TEST_CASE("every task once") { everyTaskOnce(); }
TEST_CASE("slots are exclusive") { slotsAreExclusive(); }
TEST_CASE("errors are thrown on") { errorsAreThrownOn(); }
TEST_CASE("many callers") { manyCallers(); }
TEST_CASE("callers share the threads") { callersShareTheThreads(); }
TEST_CASE("nothing is left undone") { nothingIsLeftUndone(); }
TEST_CASE("nested") { nested(); }

// Linked into the addon, whose own allocations come here: the linker binds them to these operators and hides them (CMakeLists.txt).
#include "faults/fault_allocator.h"

#include <malloc.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

namespace {

std::atomic<long> count{0}, failing{0}, live{0};

void* allocate(std::size_t size, std::size_t alignment) noexcept {
  if (count.fetch_add(1) + 1 == failing.load()) return nullptr;
  void* memory = nullptr;
  if (alignment <= alignof(std::max_align_t))
    memory = std::malloc(size == 0 ? 1 : size);
  else if (posix_memalign(&memory, alignment, size == 0 ? 1 : size) != 0)
    memory = nullptr;
  if (memory) live += static_cast<long>(malloc_usable_size(memory));
  return memory;
}

void* allocateOrThrow(std::size_t size, std::size_t alignment) {
  void* memory = allocate(size, alignment);
  if (!memory) throw std::bad_alloc();
  return memory;
}

void release(void* memory) noexcept {
  if (!memory) return;
  live -= static_cast<long>(malloc_usable_size(memory));
  std::free(memory);
}

constexpr std::size_t kUsual = alignof(std::max_align_t);

}  // namespace

namespace vertexq::faults {

void arm(long n) {
  failing = 0;
  count = 0;
  failing = n;
}
long allocations() { return count; }
long liveBytes() { return live; }

#if defined(__clang__) || defined(__GNUC__)
__attribute__((noinline))
#endif
void lose() {
  char* volatile lost = new char[4242];
  lost[0] = 1;
  lost = nullptr;
}

bool tellLeaks() {
#ifdef __SANITIZE_ADDRESS__
  __lsan_do_recoverable_leak_check();
  return true;
#else
  return false;
#endif
}

}  // namespace vertexq::faults

void* operator new(std::size_t size) { return allocateOrThrow(size, kUsual); }
void* operator new[](std::size_t size) { return allocateOrThrow(size, kUsual); }
void* operator new(std::size_t size, std::align_val_t to) { return allocateOrThrow(size, std::size_t(to)); }
void* operator new[](std::size_t size, std::align_val_t to) { return allocateOrThrow(size, std::size_t(to)); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocate(size, kUsual); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return allocate(size, kUsual); }
void operator delete(void* memory) noexcept { release(memory); }
void operator delete[](void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete[](void* memory, std::size_t) noexcept { release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { release(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { release(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { release(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { release(memory); }

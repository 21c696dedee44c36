// Memory that fails when it is told to, for a build of the addon that is never shipped (scripts/faults).
#pragma once

namespace vertexq::faults {

/** The n-th allocation from now on fails, and none after it; 0: none does. */
void arm(long n);
/** Allocations since arm(). */
long allocations();
/** Bytes that are allocated and not freed. */
long liveBytes();
/** Loses a few bytes, for the search of leaks to find. */
void lose();
/** Has LeakSanitizer say on the standard error what nothing refers to any more, of the whole process. False in a build without it. */
bool tellLeaks();

}  // namespace vertexq::faults

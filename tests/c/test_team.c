/* Threads of a loop get cores of their own, and keep all the cores that they may use. The threads are played by one,
 * in turn: it stays where it is, so that each next one finds its core taken. */
#define _GNU_SOURCE
#include "check.h"

#include <string.h>

#ifdef __linux__
#include <sched.h>

static int taken(const kl_team *team)
{
    int count = 0;
    for (int i = 0; i < KL_TEAM / 64; i++) count += __builtin_popcountll(team->cores[i]);
    return count;
}

static kl_team settle_all(int threads)
{
    kl_team team;
    memset(&team, 0, sizeof team);
    team.size = threads;
    for (int thread = 0; thread < threads; thread++)
        for (int task = 0; task < 3; task++)
            CHECK(kl_seated(&team, thread) == thread, "thread %d", thread);
    return team;
}

void test_team(void)
{
    cpu_set_t before, after, one;
    if (sched_getaffinity(0, sizeof before, &before)) return; /* more cores than a set has */
    const int cores = CPU_COUNT(&before), here = sched_getcpu();
    for (int threads = 1; threads <= cores + 2; threads++) {
        const int most = threads == 1 ? 0 : threads < cores ? threads : cores;
        int count = -1;
        for (int t = 0; t < 50 && count != most; t++) { /* the system may move the thread, too */
            const kl_team team = settle_all(threads);
            count = taken(&team);
            CHECK(team.settled == (threads == 1 ? 0 : threads), "%d of %d threads", team.settled, threads);
        }
        CHECK(count == most, "%d threads on %d of %d cores", threads, count, cores);
        CHECK(!sched_getaffinity(0, sizeof after, &after) && CPU_EQUAL(&before, &after), "%d threads", threads);
    }
    CPU_ZERO(&one);
    CPU_SET(here, &one);
    if (sched_setaffinity(0, sizeof one, &one)) return;
    const kl_team team = settle_all(4);
    CHECK(taken(&team) == 1 && sched_getcpu() == here, "%d cores instead of one", taken(&team));
    CHECK(!sched_getaffinity(0, sizeof after, &after) && CPU_EQUAL(&one, &after), "another core than before");
    sched_setaffinity(0, sizeof before, &before);
}
#else
void test_team(void)
{
    kl_team team = {.size = 2};
    CHECK(kl_seated(&team, 1) == 1, "its number");
}
#endif

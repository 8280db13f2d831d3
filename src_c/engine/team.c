/* Where the threads of one loop run.
 *
 * A thread that sleeps is often woken on the core of the one that wakes it, though others are idle: Linux does so in
 * virtual machines, where it cannot see which cores share a cache, nor that a core which the host has taken back is
 * free. The two then share that core until the system balances its load, some 20 ms later: as long as many a call
 * takes. So each thread of a loop says at its first task which core it has; one that comes to a core that has been
 * taken leaves it; and one that comes before the others lets those that may wait for its very core begin.
 *
 * 2 cores of Zen 4 under KVM, 3 ms of work for each of two threads after a pause of 50 ms: 4.6 ms without, 3.15 with;
 * no difference without pauses, and less time beside one or two other busy processes.
 */
#define _GNU_SOURCE
#include "engine.h"

#ifdef __linux__
#include <sched.h>

/* Moves the calling thread to a core that it may use and the team has not taken; then it may use all of its own again.
 * Where there is none, or the system refuses, it stays. */
static void leave_core(const kl_team *team)
{
    cpu_set_t own, others;
    if (sched_getaffinity(0, sizeof own, &own)) return;
    others = own;
    for (int core = 0; core < CPU_SETSIZE && core < KL_TEAM; core++)
        if (__atomic_load_n(&team->cores[core / 64], __ATOMIC_RELAXED) >> core % 64 & 1) CPU_CLR(core, &others);
    if (CPU_COUNT(&others) && !sched_setaffinity(0, sizeof others, &others)) sched_setaffinity(0, sizeof own, &own);
}

/* Whether the core that the calling thread has was free; it is taken from now on. */
static int take_core(kl_team *team)
{
    const int core = sched_getcpu();
    if (core < 0 || core >= KL_TEAM) return 1;
    return !(__atomic_fetch_or(&team->cores[core / 64], 1ull << core % 64, __ATOMIC_RELAXED) >> core % 64 & 1);
}

static void settle(kl_team *team)
{
    if (!take_core(team)) {
        leave_core(team);
        take_core(team);
    }
    if (__atomic_add_fetch(&team->settled, 1, __ATOMIC_RELAXED) < team->size) sched_yield();
}
#else
static void settle(kl_team *team) { (void)team; }
#endif

int kl_seated(kl_team *team, int thread)
{
    if (team->size > 1 && thread < KL_TEAM && !team->begun[thread]) {
        team->begun[thread] = 1;
        settle(team);
    }
    return thread;
}

/* libfaketime does not know sem_clockwait(), with which Python waits for a lock, an event or a queue.
   This library, loaded after libfaketime, divides such a wait by the rate of the faked time. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double seconds(struct timespec time) { return time.tv_sec + time.tv_nsec / 1e9; }

int sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until)
{
    static int (*wait)(sem_t *, clockid_t, const struct timespec *);
    struct timespec faked, real;
    if (!wait)
        wait = dlsym(RTLD_NEXT, "sem_clockwait");
    clock_gettime(clock, &faked);
    syscall(SYS_clock_gettime, clock, &real);
    double rate = atof(strrchr(getenv("FAKETIME"), 'x') + 1);
    double deadline = seconds(real) + (seconds(*until) - seconds(faked)) / rate;
    real.tv_sec = deadline;
    real.tv_nsec = (deadline - real.tv_sec) * 1e9;
    return wait(semaphore, clock, &real);
}

// What a kernel and its memory management cost: one line for each operation, `name check nanoseconds`.
// The check is a count or a sum that must be the same everywhere; the argument scales the work (default 1).
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double begin;

static double nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e9 + now.tv_nsec;
}
static void start(void) { begin = nanoseconds(); }
static void report(const char *name, long check, double operations) {
  printf("%s %ld %.0f\n", name, check, (nanoseconds() - begin) / operations);
}
static void fail(const char *what) {
  perror(what);
  exit(1);
}
static char *map(size_t size) {
  char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) fail("mmap");
  return at;
}

static void system_calls(long count) {
  const long parent = getppid();
  long same = 0;
  start();
  for (long i = 0; i < count; i++) same += syscall(SYS_getppid) == parent;
  report("system-call", same, count);
}

static void first_touches(long rounds) {
  enum { PAGES = 256, PAGE = 4096 };
  long zero = 0;
  start();
  for (long round = 0; round < rounds; round++) {
    char *area = map(PAGES * PAGE);
    for (int page = 0; page < PAGES; page++) zero += area[page * PAGE + round % PAGE]++ == 0;
    munmap(area, PAGES * PAGE);
  }
  report("first-touch", zero, (double)rounds * PAGES);
}

static void pipe_turns(long count) {
  int there[2], back[2];
  unsigned char token = 0;
  if (pipe(there) || pipe(back)) fail("pipe");
  const pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    for (long i = 0; i < count; i++) {
      if (read(there[0], &token, 1) != 1) _exit(1);
      token++;
      if (write(back[1], &token, 1) != 1) _exit(1);
    }
    _exit(0);
  }
  start();
  for (long i = 0; i < count; i++)
    if (write(there[1], &token, 1) != 1 || read(back[0], &token, 1) != 1) fail("pipe turn");
  report("pipe-turn", token, count);
  waitpid(child, NULL, 0);
}

static void processes(long count) {
  volatile long sum = 0;
  int status;
  start();
  for (long i = 0; i < count; i++) {
    const pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) _exit(i & 7);
    waitpid(child, &status, 0);
    sum += WEXITSTATUS(status);
  }
  report("fork-exit", sum, count);
  sum = 0;
  start();
  for (long i = 0; i < count / 4; i++) {
    const pid_t child = vfork();
    if (child < 0) fail("vfork");
    if (child == 0) {
      execl("/proc/self/exe", "system", "--exit", (char *)NULL);
      _exit(1);
    }
    waitpid(child, &status, 0);
    sum += WEXITSTATUS(status) == 5;
  }
  report("exec", sum, count / 4 > 0 ? count / 4 : 1);
}

static char *guarded;
static volatile long caught;
static void open_page(int signal) {
  (void)signal;
  caught++;
  mprotect(guarded, 4096, PROT_READ | PROT_WRITE);
}
static void protection_faults(long count) {
  struct sigaction action = {.sa_handler = open_page};
  sigaction(SIGSEGV, &action, NULL);
  guarded = map(4096);
  start();
  for (long i = 0; i < count; i++) {
    mprotect(guarded, 4096, PROT_READ);
    *(volatile char *)guarded = (char)i;
  }
  report("protection-fault", caught, count);
}

// Loads all over 32 MiB: more pages than any TLB holds.
static void far_loads(long count) {
  const size_t size = 32u << 20;
  char *area = map(size);
  for (size_t i = 0; i < size; i += 64) area[i] = (char)(i >> 6);
  unsigned state = 1;
  long sum = 0;
  start();
  for (long i = 0; i < count; i++) {
    state = state * 1103515245u + 12345u;
    sum += area[(state >> 4) & (size - 1) & ~63u];
  }
  report("far-load", sum, count);
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "--exit") == 0) return 5;
  const double scale = argc > 1 ? atof(argv[1]) : 1;
  setvbuf(stdout, NULL, _IOLBF, 0);
  system_calls(100000 * scale);
  first_touches(60 * scale + 1);
  pipe_turns(5000 * scale);
  processes(100 * scale + 4);
  protection_faults(5000 * scale);
  far_loads(1000000 * scale);
  return 0;
}

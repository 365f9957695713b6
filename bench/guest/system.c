// What a guest kernel and its memory management cost: seven operations, each many times.
#define _GNU_SOURCE
#include "report.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096 };

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static char *map(size_t size) {
  char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) fail("mmap");
  return at;
}

static void finish(long check, double operations) {
  char text[24];
  sprintf(text, "%ld", check);
  done(text, operations);
}

static void system_calls(void) {
  const long count = scaled(300000), parent = getppid();
  long same = 0;
  start("syscall");
  for (long i = 0; i < count; i++) same += syscall(SYS_getppid) == parent;
  finish(same, count);
}

/** Maps 1 MiB, touches its pages, unmaps it; counted by page. */
static void page_faults(void) {
  enum { PAGES = 256 };
  const long rounds = scaled(200);
  long zero = 0;
  start("page-fault");
  for (long round = 0; round < rounds; round++) {
    char *area = map(PAGES * PAGE);
    for (int page = 0; page < PAGES; page++) zero += area[page * PAGE]++ == 0;
    munmap(area, PAGES * PAGE);
  }
  finish(zero, (double)rounds * PAGES);
}

/** A byte goes back and forth between two processes; two switches a turn. */
static void context_switches(void) {
  const long count = scaled(20000);
  int there[2], back[2];
  unsigned char token = 0;
  if (pipe(there) || pipe(back)) fail("pipe");
  fflush(stdout);
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
  int status = 0;
  start("context-switch");
  for (long i = 0; i < count; i++)
    if (write(there[1], &token, 1) != 1 || read(back[0], &token, 1) != 1) fail("pipe turn");
  // The other process's time counts once it has been waited for.
  waitpid(child, &status, 0);
  finish(token + status, 2.0 * count);
  for (int i = 0; i < 2; i++) close(there[i]), close(back[i]);
}

static void forks(void) {
  const long count = scaled(300);
  long sum = 0;
  start("fork-exit-wait");
  for (long i = 0; i < count; i++) {
    int status = 0;
    const pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) _exit(i & 7);
    waitpid(child, &status, 0);
    sum += WEXITSTATUS(status);
  }
  finish(sum, count);
}

static void execs(void) {
  const long count = scaled(30);
  long right = 0;
  start("exec");
  for (long i = 0; i < count; i++) {
    int status = 0;
    const pid_t child = vfork();
    if (child < 0) fail("vfork");
    if (child == 0) {
      execl("/proc/self/exe", "system", "--exit", (char *)NULL);
      _exit(1);
    }
    waitpid(child, &status, 0);
    right += WEXITSTATUS(status) == 5;
  }
  finish(right, count);
}

static char *guarded;
static volatile long caught;
static void open_page(int number, siginfo_t *info, void *context) {
  (void)number, (void)info, (void)context;
  caught++;
  mprotect(guarded, PAGE, PROT_READ | PROT_WRITE);
}

/** A store to a read-only page; the handler of the signal makes it writable. */
static void protection_traps(void) {
  const long count = scaled(20000);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = open_page;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, NULL);
  guarded = map(PAGE);
  guarded[0] = 1;
  start("protect-trap");
  for (long i = 0; i < count; i++) {
    mprotect(guarded, PAGE, PROT_READ);
    *(volatile char *)guarded = 2;
  }
  finish(caught, count);
  signal(SIGSEGV, SIG_DFL);
}

/** Loads all over 64 MiB: more pages than any TLB holds. */
static void random_pages(void) {
  const size_t size = 64u << 20;
  const long count = scaled(2000000);
  char *area = map(size);
  memset(area, 1, size);
  unsigned x = 12345;
  long sum = 0;
  start("random-page");
  for (long i = 0; i < count; i++) {
    x = x * 1664525u + 1013904223u;
    sum += area[(x >> 6) & (size - 1)];
  }
  finish(sum, count);
  munmap(area, size);
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "--exit") == 0) return 5;
  arguments(argc, argv);
  if (want("syscall")) system_calls();
  if (want("page-fault")) page_faults();
  if (want("context-switch")) context_switches();
  if (want("fork-exit-wait")) forks();
  if (want("exec")) execs();
  if (want("protect-trap")) protection_traps();
  if (want("random-page")) random_pages();
  return 0;
}

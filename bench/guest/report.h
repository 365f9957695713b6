// How the benchmark programs say what they measure. Each measurement is two lines:
//
//   @start NAME
//   @done NAME CHECK OPERATIONS SECONDS PROCESSOR-SECONDS
//
// CHECK is the same on every machine when the work was done right. SECONDS is CLOCK_MONOTONIC; whoever reads the lines
// also notes when they came. PROCESSOR-SECONDS counts this process and the children it has waited for.
// The arguments of a program are a factor for the amount of work and, optionally, the names to measure.
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static double scale = 1;
static char **wanted;
static const char *measured;
static double begin_seconds, begin_cpu, end_seconds, end_cpu;

static void arguments(int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (argc > 1) scale = atof(argv[1]);
  wanted = argc > 2 ? argv + 2 : NULL;
}

/** How often to do something that is done `count` times at full scale: at least once. */
static long scaled(double count) { return count * scale < 1 ? 1 : (long)(count * scale); }

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec * 1e-9;
}

static double cpu_seconds(void) {
  struct rusage self, children;
  getrusage(RUSAGE_SELF, &self);
  getrusage(RUSAGE_CHILDREN, &children);
  return self.ru_utime.tv_sec + self.ru_stime.tv_sec + children.ru_utime.tv_sec + children.ru_stime.tv_sec +
         1e-6 * (self.ru_utime.tv_usec + self.ru_stime.tv_usec + children.ru_utime.tv_usec + children.ru_stime.tv_usec);
}

/** Whether a measurement was asked for. */
static int want(const char *name) {
  if (!wanted) return 1;
  for (char **at = wanted; *at; at++)
    if (!strcmp(*at, name)) return 1;
  return 0;
}

static void start(const char *name) {
  measured = name;
  printf("@start %s\n", name);
  begin_cpu = cpu_seconds();
  begin_seconds = seconds();
}

/** Ends the measurement; for programs that have to work for their check. Otherwise `done` ends it. */
static void stop(void) {
  end_seconds = seconds();
  end_cpu = cpu_seconds();
}

static void done(const char *check, double operations) {
  if (end_seconds == 0) stop();
  const double took = end_seconds - begin_seconds, cpu = end_cpu - begin_cpu;
  end_seconds = 0;
  printf("@done %s %s %.0f %.9f %.6f\n", measured, check, operations, took, cpu);
}

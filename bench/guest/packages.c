// Programs of the distribution, from start to end: Python that evaluates one line, and gzip of 20 MB of text. They are
// in the folder `programs` (bench/packages.ts), started by its own dynamic linker, so that host and guest run the same.
// 64-bit only.
#include "report.h"
#include <fcntl.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINKED "programs/ld.so", "--library-path", "programs/lib"

static void fail(const char *what) {
  perror(what);
  exit(1);
}

/** Runs a program with its input and output in files; stops everything when it fails. */
static void run(char *const *words, const char *input, const char *output) {
  int status = 0;
  const pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    const int in = open(input, O_RDONLY), out = open(output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0) fail("open");
    execv(words[0], words);
    fail(words[0]);
  }
  waitpid(child, &status, 0);
  if (status != 0) {
    printf("%s ended with %x\n", words[3], status);
    exit(1);
  }
}

/** FNV-1a of a file. */
static uint32_t digest(const char *path) {
  static unsigned char buffer[65536];
  uint32_t hash = 2166136261u;
  FILE *file = fopen(path, "rb");
  if (!file) fail(path);
  for (size_t got; (got = fread(buffer, 1, sizeof buffer, file)) > 0;)
    for (size_t i = 0; i < got; i++) hash = (hash ^ buffer[i]) * 16777619u;
  fclose(file);
  return hash;
}

/** Writes text of words that are drawn from 4,096, the first of them more often. */
static void write_text(const char *path, long size) {
  static char words[4096][12];
  uint32_t x = 1;
#define DRAW(below) ((x = x * 1664525u + 1013904223u), (x >> 8) % (below))
  for (int word = 0; word < 4096; word++) {
    const int length = 2 + DRAW(8);
    for (int i = 0; i < length; i++) words[word][i] = "etaoinshrdlucmfwypvbgkjqxz"[DRAW(1 + DRAW(26))];
  }
  FILE *file = fopen(path, "wb");
  if (!file) fail(path);
  for (long at = 0; at < size;) {
    const char *word = words[DRAW(1 + DRAW(4096))];
    at += fprintf(file, "%s%c", word, DRAW(12) == 0 ? '\n' : ' ');
  }
  if (fclose(file)) fail(path);
}

static void python(void) {
  char *words[] = {LINKED, "programs/python3", "-c", "print(sum(n * n for n in range(100)))", NULL};
  const long count = scaled(6);
  char check[16];
  setenv("PYTHONHOME", "programs", 1);
  setenv("PYTHONDONTWRITEBYTECODE", "1", 1);
  start("python");
  for (long i = 0; i < count; i++) run(words, "/dev/null", "python.out");
  stop();
  sprintf(check, "%08x", digest("python.out"));
  done(check, count);
  unlink("python.out");
}

static void gzip(void) {
  char *words[] = {LINKED, "programs/gzip", "-nc", NULL};
  const long size = scaled(20e6);
  char check[16];
  write_text("text", size);
  start("gzip");
  run(words, "text", "text.gz");
  stop();
  sprintf(check, "%08x", digest("text.gz"));
  done(check, size);
  unlink("text");
  unlink("text.gz");
}

int main(int argc, char **argv) {
  arguments(argc, argv);
  if (want("python")) python();
  if (want("gzip")) gzip();
  return 0;
}

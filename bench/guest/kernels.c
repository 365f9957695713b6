// Loops of user code: what the engine makes of table look-ups, floating point, stores with a stride, and calls.
#include "report.h"
#include <stdint.h>

#define NOINLINE __attribute__((noipa))

/** CRC-32 by table: each load depends on the one before. */
NOINLINE static uint32_t crc(const uint8_t *at, const uint8_t *end, const uint32_t *table) {
  uint32_t c = ~0u;
  for (; at != end; at++) c = (c >> 8) ^ table[(c ^ *at) & 0xff];
  return c;
}

/** A row of a sparse matrix times a vector: doubles, gathered by an index list. */
NOINLINE static double spmv(const double *values, const int *index, const double *vector, long count) {
  double sum = 0;
  for (long j = 0; j < count; j++) sum += values[j] * vector[index[j]];
  return sum;
}

/** How many primes there are below a number: byte stores with a growing stride. */
NOINLINE static long sieve(uint8_t *prime, long below) {
  long count = 0;
  for (long i = 0; i < below; i++) prime[i] = 1;
  for (long i = 2; i < below; i++)
    if (prime[i]) {
      count++;
      for (long j = i + i; j < below; j += i) prime[j] = 0;
    }
  return count;
}

/** Fibonacci numbers, recursive: calls, returns, pushes and pops. */
NOINLINE static long fib(long n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

static void run_crc(void) {
  enum { BYTES = 1 << 20 };
  static uint32_t table[256];
  for (uint32_t n = 0; n < 256; n++) {
    uint32_t c = n;
    for (int bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
    table[n] = c;
  }
  uint8_t *bytes = malloc(BYTES);
  for (int i = 0; i < BYTES; i++) bytes[i] = (uint8_t)(i * 31);
  const long rounds = scaled(100);
  uint32_t sum = 0;
  char check[16];
  start("crc");
  for (long round = 0; round < rounds; round++) sum ^= crc(bytes, bytes + BYTES, table) + (uint32_t)round;
  sprintf(check, "%08x", sum);
  done(check, (double)rounds * BYTES);
}

static void run_spmv(void) {
  enum { TERMS = 1 << 16 };
  double *values = malloc(TERMS * sizeof(double)), *vector = malloc(TERMS * sizeof(double));
  int *index = malloc(TERMS * sizeof(int));
  for (int i = 0; i < TERMS; i++) {
    values[i] = i * .5;
    vector[i] = i * .25;
    index[i] = (i + (i % 27) * 40) % TERMS;
  }
  const long rounds = scaled(2000);
  double sum = 0;
  char check[32];
  start("spmv");
  for (long round = 0; round < rounds; round++) sum += spmv(values, index, vector, TERMS);
  sprintf(check, "%.12e", sum);
  done(check, (double)rounds * TERMS);
}

static void run_sieve(void) {
  enum { BELOW = 1000000 };
  uint8_t *prime = malloc(BELOW);
  const long rounds = scaled(60);
  long count = 0;
  char check[16];
  start("sieve");
  for (long round = 0; round < rounds; round++) count += sieve(prime, BELOW);
  sprintf(check, "%ld", count);
  done(check, (double)rounds * BELOW);
}

static void run_fib(void) {
  // The work grows by 1.618 with each step of the argument: two steps less is about 0.38 of it.
  long n = 38;
  for (double share = scale; share < 0.7 && n > 10; share *= 1.618) n--;
  char check[16];
  start("fib");
  const long value = fib(n);
  sprintf(check, "%ld", value);
  done(check, (double)value);
}

int main(int argc, char **argv) {
  arguments(argc, argv);
  if (want("crc")) run_crc();
  if (want("spmv")) run_spmv();
  if (want("sieve")) run_sieve();
  if (want("fib")) run_fib();
  return 0;
}

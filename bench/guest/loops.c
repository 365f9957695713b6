// Loops of user code: what the engine makes of integer, memory, floating-point and call-heavy programs.
// Prints one line for each loop, `name checksum seconds`; the argument scales the work (default 1).
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NOINLINE __attribute__((noipa))

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec * 1e-9;
}

// Table-driven CRC-32C: a load that depends on the one before, shifts and exclusive ors.
static uint32_t table[256];

static void make_table(void) {
  for (uint32_t n = 0; n < 256; n++) {
    uint32_t c = n;
    for (int bit = 0; bit < 8; bit++) c = (c >> 1) ^ (c & 1 ? 0x82f63b78u : 0);
    table[n] = c;
  }
}

NOINLINE static uint32_t checksum(const uint8_t *bytes, size_t count, uint32_t c) {
  for (size_t i = 0; i < count; i++) c = table[(c ^ bytes[i]) & 255] ^ (c >> 8);
  return c;
}

// Sum of products with an index list: floating point and gathered loads.
NOINLINE static double gather(const double *weights, const int32_t *at, const double *from, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; i++) sum += weights[i] * from[at[i]];
  return sum;
}

// Sieve over odd numbers: byte stores with a stride.
NOINLINE static uint32_t primes(uint8_t *composite, uint32_t below) {
  uint32_t found = below > 2;
  for (uint32_t i = 0; i < below / 2; i++) composite[i] = 0;
  for (uint32_t n = 3; n < below; n += 2) {
    if (composite[n / 2]) continue;
    found++;
    for (uint64_t m = (uint64_t)n * n; m < below; m += 2 * n) composite[m / 2] = 1;
  }
  return found;
}

// Takeuchi's function: calls, returns and branches.
NOINLINE static int tak(int x, int y, int z) {
  return y >= x ? z : tak(tak(x - 1, y, z), tak(y - 1, z, x), tak(z - 1, x, y));
}

// Matrix product of 32-bit integers: multiply and add with loads at a stride.
enum { ORDER = 64 };
static int32_t left[ORDER][ORDER], right[ORDER][ORDER], product[ORDER][ORDER];

NOINLINE static void multiply(void) {
  for (int i = 0; i < ORDER; i++)
    for (int j = 0; j < ORDER; j++) {
      int32_t sum = 0;
      for (int k = 0; k < ORDER; k++) sum += left[i][k] * right[k][j];
      product[i][j] = sum;
    }
}

int main(int argc, char **argv) {
  const double scale = argc > 1 ? atof(argv[1]) : 1;
  double begin;
  setvbuf(stdout, NULL, _IOLBF, 0);

  enum { BYTES = 1 << 20, TERMS = 1 << 14, BELOW = 1 << 20 };
  uint8_t *bytes = malloc(BYTES);
  for (int i = 0; i < BYTES; i++) bytes[i] = (uint8_t)(i * 7 + (i >> 9));
  make_table();
  begin = seconds();
  uint32_t crc = ~0u;
  for (int round = 0; round < 24 * scale; round++) crc = checksum(bytes, BYTES, crc);
  printf("checksum %08x %.4f\n", crc, seconds() - begin);

  double *weights = malloc(TERMS * sizeof(double)), *from = malloc(TERMS * sizeof(double));
  int32_t *at = malloc(TERMS * sizeof(int32_t));
  for (int i = 0; i < TERMS; i++) {
    weights[i] = (i & 63) - 20;
    from[i] = (i % 91) * 0.5;
    at[i] = (int32_t)((i * 2654435761u) >> 18);
  }
  begin = seconds();
  double sum = 0;
  for (int round = 0; round < 1200 * scale; round++) sum += gather(weights, at, from, TERMS);
  printf("gather %.1f %.4f\n", sum, seconds() - begin);

  begin = seconds();
  uint32_t found = 0;
  uint8_t *composite = malloc(BELOW / 2);
  for (int round = 0; round < 12 * scale; round++) found += primes(composite, BELOW);
  printf("sieve %u %.4f\n", found, seconds() - begin);

  begin = seconds();
  int calls = 0;
  for (int round = 0; round < 100 * scale; round++) calls += tak(18, 12, 6 - (round & 1));
  printf("calls %d %.4f\n", calls, seconds() - begin);

  for (int i = 0; i < ORDER; i++)
    for (int j = 0; j < ORDER; j++) left[i][j] = i * 3 - j, right[i][j] = i ^ (j * 5);
  begin = seconds();
  uint32_t trace = 0;
  for (int round = 0; round < 100 * scale; round++) {
    multiply();
    for (int i = 0; i < ORDER; i++) trace = trace * 31 + (uint32_t)product[i][(i + round) % ORDER];
  }
  printf("matrix %08x %.4f\n", trace, seconds() - begin);
  return 0;
}

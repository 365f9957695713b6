// Dispersed hot code: walks through the 2,000 blocks that bench/dispersed.ts writes. 64-bit only.
#include "report.h"
#include <stdint.h>

uint64_t walk(uint64_t a, uint64_t b, uint32_t *table, long count);

int main(int argc, char **argv) {
  static uint32_t table[1024];
  arguments(argc, argv);
  for (uint32_t i = 0; i < 1024; i++) table[i] = i * 2654435761u;
  const long count = scaled(4e6);
  char check[24];
  if (!want("blocks")) return 0;
  start("blocks");
  sprintf(check, "%016llx", (unsigned long long)walk(1, 2, table, count));
  done(check, count);
  return 0;
}

// Which tests vitest runs and how: forked processes of the Node that runs vitest, so always the pinned one.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
    pool: 'forks',
    // A guest's machine memory is hundreds of MiB and an engine keeps a core busy: more workers only get slower.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});

// Fails when a file in src/ imports against the order of the layers, or uses Node.js where a browser must do.

import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { checkFile } from './layers.ts';

const root = join(import.meta.dirname, '..');
const files = readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })
  .filter((item) => item.isFile() && item.name.endsWith('.ts'))
  .map((item) => relative(root, join(item.parentPath, item.name)))
  .sort();
const problems = files.flatMap((file) => checkFile(file, readFileSync(join(root, file), 'utf8')));

for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exit(1);
console.log(`layers: ${files.length} files import one way`);

// What npm run programs makes of output and of dependencies.
import { describe, expect, it } from 'vitest';
import { comparedLines, compareJob, splitJobs } from '../../scripts/programs/compare.ts';
import { JOBS, jobFiles } from '../../scripts/programs/jobs.ts';
import { dependencies } from '../../scripts/programs/packages.ts';

const output = (text: string): ReturnType<typeof splitJobs> => splitJobs(Buffer.from(text, 'latin1'));

describe('the output of jobs', () => {
  it('is split by its marks, every byte kept', () => {
    const { jobs, rest } = output('boot\n@@ begin a\nx\xff\r\n\n@@ exit 0\nnoise\n@@ begin b\ny\n');
    expect([...jobs.keys()]).toEqual(['a', 'b']);
    expect(jobs.get('a')).toEqual({ status: 0, bytes: Buffer.from('x\xff\r\n', 'latin1') });
    expect(jobs.get('b')?.status).toBeUndefined();
    expect(rest).toBe('boot\nnoise');
  });
  it('loses the lines that state times, and no others', () => {
    const text =
      'Ran 53 tests in 0.384s\nRan 53 tests\n0:00:07 load avg: 1.93 [1/1] test_float\nok\nTotal duration: 1.2 sec\n';
    expect(comparedLines(Buffer.from(text))).toEqual({ lines: ['Ran 53 tests', 'ok', ''], left: 3 });
  });
  it('is the same or not by bytes, status and end', () => {
    const job = (text: string, status: number | undefined) => ({ status, bytes: Buffer.from(text) });
    const host = job('a\nb\n', 0);
    expect(compareJob('j', host, job('a\nb\n', 0))).toMatchObject({ same: true, ended: true, lines: 3, bytes: 4 });
    expect(compareJob('j', host, job('a\nB\n', 0)).differences).toEqual(['line 2: b <> B']);
    expect(compareJob('j', host, job('a\n', 0)).same).toBe(false);
    expect(compareJob('j', host, job('a\nb\n', 1)).differences).toEqual(['exit 0 on the host, 1 in the guest']);
    expect(compareJob('j', host, job('a\nb\n', undefined))).toMatchObject({ same: false, ended: false });
    expect(compareJob('j', host, undefined)).toMatchObject({ same: false, ended: false });
  });
});

describe('the jobs', () => {
  it('have a script each, and libm without FMA for models that lack it', () => {
    const files = jobFiles('v2');
    for (const { name } of JOBS) expect(files.get(`${name}.sh`)).toBeTruthy();
    expect(files.get('environment')).toContain('-FMA');
    expect(jobFiles('v3').get('environment')).not.toContain('-FMA');
  });
});

describe('dependencies', () => {
  it('are names without versions, of alternatives the first', () => {
    const depends = 'libc6 (>= 2.34), media-types | mime-support, python3:any,\nlibx1 (= 1:2)';
    expect(dependencies({ depends, preDepends: 'dpkg (>= 1.15)' })).toEqual([
      'dpkg',
      'libc6',
      'media-types',
      'python3',
      'libx1',
    ]);
    expect(dependencies({ depends: '', preDepends: '' })).toEqual([]);
  });
});

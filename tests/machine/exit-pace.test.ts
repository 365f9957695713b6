// Which thread a vCPU is given by how often its guest leaves.
import { describe, expect, it } from 'vitest';
import { ExitPace } from '../../src/machine/exit-pace.ts';

describe('ExitPace', () => {
  it('keeps a guest near that leaves now and then', () => {
    const pace = new ExitPace();
    for (let i = 0; i < 100; i++) pace.note(i % 3 === 0, i);
    expect(pace.near).toBe(true);
  });
  it('sends one away that only computes, and fetches it when it leaves often', () => {
    const pace = new ExitPace();
    for (let i = 0; i < 3; i++) pace.note(false, i);
    expect(pace.near).toBe(false);
    for (let i = 0; i < 1000; i++) pace.note(true, 3 + i);
    expect(pace.near).toBe(false);
    for (let i = 0; i < 64; i++) pace.note(true, 2000 + i / 10);
    expect(pace.near).toBe(true);
  });
});

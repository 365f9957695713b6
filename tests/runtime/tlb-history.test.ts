// The TLB against the reference walker over random histories.
import { describe, expect, it } from 'vitest';
import { seedOf } from '../isa/random.ts';
import { tlbHistory } from './tlb-history.ts';

describe('the TLB', () => {
  it('gives no translation that was invalidated', { timeout: 60_000 }, () => {
    const seed = seedOf('TLB histories') | 1;
    for (let i = 0; i < 60; i++) expect(tlbHistory(seed + 2 * i).wrong).toBeUndefined();
  });
});

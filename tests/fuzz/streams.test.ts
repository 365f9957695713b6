// A sample of random instruction streams: whatever the guest executes, the host comes back.
import { describe, expect, it } from 'vitest';
import { seedOf } from '../isa/random.ts';
import { StreamGuest } from './streams.ts';

const STREAMS = 20;

describe('random instruction streams', () => {
  it.each([
    ['end at', false],
    ['go on behind', true],
  ])('that %s what faults never stop the host', { timeout: 120_000 }, (_, returns) => {
    const seed = seedOf('instruction streams');
    const guest = new StreamGuest('interpreter', returns);
    for (let i = 0; i < STREAMS; i++) expect([seed + i, guest.run(seed + i)]).toEqual([seed + i, undefined]);
  });
});

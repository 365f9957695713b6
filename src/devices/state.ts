/**
 * Reading fields out of a device state: every field is checked, because a snapshot is a file.
 */
import type { DeviceState } from './device.ts';
import { SnapshotError } from './errors.ts';

/** The integer in `key`, within `[min, max]`. Throws `SnapshotError`. */
export function stateNumber(state: DeviceState, key: string, max = 0xffffffff, min = 0): number {
  const value = state[key];
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    throw new SnapshotError(key, `an integer from ${min} to ${max}`);
  }
  return value;
}

/** The finite number in `key`. Throws `SnapshotError`. */
export function stateFinite(state: DeviceState, key: string): number {
  const value = state[key];
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new SnapshotError(key, 'a number');
  return value;
}

/** The boolean in `key`. Throws `SnapshotError`. */
export function stateBoolean(state: DeviceState, key: string): boolean {
  const value = state[key];
  if (typeof value !== 'boolean') throw new SnapshotError(key, 'a boolean');
  return value;
}

/** The bigint in `key`, which is written as a decimal string. Throws `SnapshotError`. */
export function stateBigint(state: DeviceState, key: string): bigint {
  const value = state[key];
  if (typeof value !== 'string' || !/^-?\d{1,40}$/.test(value)) throw new SnapshotError(key, 'a decimal string');
  return BigInt(value);
}

/** As `stateBigint`, where null stands for a value that is absent. */
export function stateOptionalBigint(state: DeviceState, key: string): bigint | undefined {
  return state[key] === null ? undefined : stateBigint(state, key);
}

/** The list of integers 0 to `max` in `key`, of `minLength` to `maxLength` elements. Throws `SnapshotError`. */
export function stateNumbers(
  state: DeviceState,
  key: string,
  minLength: number,
  maxLength = minLength,
  max = 0xff,
): number[] {
  const value = state[key];
  const isElement = (n: unknown): n is number => typeof n === 'number' && Number.isInteger(n) && n >= 0 && n <= max;
  if (!Array.isArray(value) || value.length < minLength || value.length > maxLength || !value.every(isElement)) {
    throw new SnapshotError(key, `a list of ${minLength} to ${maxLength} integers up to ${max}`);
  }
  return [...value];
}

/** The state nested in `key`. Throws `SnapshotError`. */
export function stateChild(state: DeviceState, key: string): DeviceState {
  const value = state[key];
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new SnapshotError(key, 'an object');
  return value as DeviceState;
}

/** The list of `length` states in `key`. Throws `SnapshotError`. */
export function stateChildren(state: DeviceState, key: string, length: number): DeviceState[] {
  const value = state[key];
  const isElement = (s: unknown): s is DeviceState => typeof s === 'object' && s !== null && !Array.isArray(s);
  if (!Array.isArray(value) || value.length !== length || !value.every(isElement)) {
    throw new SnapshotError(key, `a list of ${length} objects`);
  }
  return [...value];
}

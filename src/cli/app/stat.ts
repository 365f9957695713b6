// What a machine did, as lines for people.

/** A value: shares as percentages, other numbers with at most two decimals and their thousands apart. */
function format(name: string, value: unknown): string {
  if (typeof value !== 'number') return String(value);
  if (name === 'time') return `${(value * 100).toFixed(1)} %`;
  return (Math.round(value * 100) / 100).toLocaleString('en-US');
}

/** Line by line: a group of values on one line, what is nought in it left out. */
export function statLines(stats: object): string[] {
  return Object.entries(stats)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => {
      if (typeof value !== 'object') return `${name}: ${format(name, value)}`;
      const parts = Object.entries(value as object).filter(([, v]) => v !== 0);
      return `${name}: ${parts.map(([n, v]) => `${n} ${format(name, v)}`).join(', ') || 'none'}`;
    });
}

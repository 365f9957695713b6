// PDEP and PEXT (SDM vol.2): bits moved to, or from, the places that a mask has set.

/** The low bits of `source` at the places of `mask`, in order. */
export function bmi_pdep(cpu: u32, source: u64, mask: u64): u64 {
  let result: u64 = 0;
  let from = source;
  for (let rest = mask; rest != 0; rest &= rest - 1, from >>= 1) if (from & 1) result |= rest & (0 - rest);
  return result;
}

/** The bits of `source` at the places of `mask`, side by side from bit 0 on. */
export function bmi_pext(cpu: u32, source: u64, mask: u64): u64 {
  let result: u64 = 0;
  let to: u64 = 1;
  for (let rest = mask; rest != 0; rest &= rest - 1, to <<= 1) if (source & rest & (0 - rest)) result |= to;
  return result;
}

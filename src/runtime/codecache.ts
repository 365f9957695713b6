// Decoded code by frame.

/** Called before a store of `size` bytes at `offset` of a frame that holds decoded code. */
export function code_written(cpu: u32, frame: u32, offset: u32, size: u32): void {}

// What the runtime exports.

export { prepare_store } from './frames';
export { exec_translate, mem_commit, mem_read, mem_rmw, mem_write, sys_read, sys_rmw, sys_write } from './mmu';
export * from './sse';
export { update_context } from './state';
export { flush_all, flush_non_global, flush_page, tlb_drop_frame, tlb_protect_frame } from './tlb';

/* What a program that llvm.py compiles calls: each access passes its value through `watched`. */
uint64_t watched[4];

void watch_read_shared(uint64_t address, uint32_t size, uint32_t site) {
    read_shared(address, watched, size, site);
}
void watch_write_shared(uint64_t address, uint32_t size, uint32_t site) {
    write_shared(address, watched, size, site);
}
void watch_read_global(uint64_t address, uint32_t size, uint32_t site) {
    read_global(address, watched, size, site);
}
void watch_write_global(uint64_t address, uint32_t size, uint32_t site) {
    write_global(address, watched, size, site);
}
void watch_barrier(uint32_t site) { barrier_sync(0, 0, site); }
uint32_t watch_thread(void) { return current % block_threads; }
uint32_t watch_block(void) { return first_block + rank_of(current); }
